//! The run tag: text in a run's name or description that identifies the attempt the run is for. Pure.
//!
//! Orphans are found by it (`crate::delete::orphans`).

use std::fmt;

use databricks_client::jobs::Run;
use serde_json::{Map, Value};

use super::digest::{length_prefixed, sha256_hex};
use crate::task::{execution::Execution, json};

/// Hexadecimal characters of the action's digest.
const DIGEST_LENGTH: usize = 16;

/// One run of one attempt of one action of one Flyte installation, such as `[flyte:0123456789abcdef:2]`. After abandoned
/// runs of the same attempt their number follows: `[flyte:0123456789abcdef:2.1]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunTag {
    action: String,
    /// Counts from 1, as Flyte's own label does.
    attempt: u32,
    /// Abandoned runs of this attempt before this one.
    abandoned: u32,
}

impl RunTag {
    /// Returns the tag of an attempt, or `None` when the request names no execution.
    ///
    /// The output prefix without the attempt's folder is part of the digest, because it differs between Flyte
    /// installations that share a workspace (flyte-contract.md#task-execution-metadata).
    pub(crate) fn of(execution: &Execution) -> Option<Self> {
        if !execution.is_identified {
            return None;
        }
        let prefix = execution.output_prefix.trim_end_matches('/');
        let folder = prefix.rsplit_once('/').map_or(prefix, |(folder, _attempt)| folder);
        let mut action = sha256_hex(&length_prefixed(&[
            &execution.org,
            &execution.project,
            &execution.domain,
            &execution.run,
            &execution.action,
            folder,
        ]));
        action.truncate(DIGEST_LENGTH);
        Some(Self { action, attempt: execution.attempt(), abandoned: execution.abandoned })
    }

    /// Returns the tag in a text, if the text has one.
    fn find(text: &str) -> Option<Self> {
        let (_, tag) = text.rsplit_once("[flyte:")?;
        let (tag, _) = tag.split_once(']')?;
        let (action, attempt) = tag.split_once(':')?;
        let (attempt, abandoned) = attempt.split_once('.').unwrap_or((attempt, "0"));
        Some(Self {
            action: action.to_owned(),
            attempt: attempt.parse().ok()?,
            abandoned: abandoned.parse().ok()?,
        })
    }

    /// Writes the tag into the description of a task that has none.
    pub(crate) fn describe(&self, task: &mut Map<String, Value>) {
        if !json::has(task, "description") {
            task.insert("description".to_owned(), Value::String(self.to_string()));
        }
    }

    /// True if the run is for the same action, and for the same or an earlier attempt.
    ///
    /// A run that replaced the abandoned run of this tag is newer than the tag: a late search must not find it.
    pub(crate) fn covers(&self, run: &Run) -> bool {
        let descriptions = run.tasks.iter().filter_map(|task| task.description.as_deref());
        run.run_name.as_deref().into_iter().chain(descriptions).filter_map(Self::find).any(
            |found| {
                found.action == self.action
                    && (found.attempt, found.abandoned) <= (self.attempt, self.abandoned)
            },
        )
    }

    /// Returns the latest possible tag of the previous attempt, or `None` for the first attempt.
    pub(crate) fn previous_attempt(&self) -> Option<Self> {
        (self.attempt > 1).then(|| Self {
            attempt: self.attempt - 1,
            abandoned: u32::MAX,
            ..self.clone()
        })
    }
}

impl fmt::Display for RunTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[flyte:{}:{}", self.action, self.attempt)?;
        if self.abandoned > 0 {
            write!(f, ".{}", self.abandoned)?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::create_context;

    /// The tag of that attempt, counted from 1.
    fn tag(attempt: u32) -> RunTag {
        let mut cx = create_context("40_executor_first_attempt");
        cx.execution.task_execution_id.as_mut().unwrap().retry_attempt = attempt - 1;
        let place = cx.output_prefix.strip_suffix("/1").unwrap();
        cx.output_prefix = format!("{place}/{attempt}");
        RunTag::of(&Execution::of(&cx)).unwrap()
    }

    fn named(tag: &RunTag) -> Run {
        run(json!({"run_name": format!("flyte t (p/d/r/a0) {tag}")}))
    }

    fn run(value: Value) -> Run {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn attempts_of_one_action_share_digest_and_count_from_one() {
        let (first, second) = (tag(1), tag(2));
        assert_eq!((first.attempt, second.attempt), (1, 2));
        assert_eq!(first.action, second.action);
        assert!(second.previous_attempt().unwrap().covers(&named(&first)));
        assert!(!second.previous_attempt().unwrap().covers(&named(&second)));
        assert_eq!(first.previous_attempt(), None);
        assert_eq!(RunTag::find(&format!("x {second} y")), Some(second));
    }

    #[test]
    fn run_that_replaces_abandoned_run_is_newer() {
        let first = tag(1);
        let again = RunTag { abandoned: 1, ..first.clone() };
        assert!(first.to_string().ends_with(":1]") && again.to_string().ends_with(":1.1]"));
        assert_eq!(RunTag::find(&again.to_string()), Some(again.clone()));
        assert!(!first.covers(&named(&again)));
        assert!(again.covers(&named(&first)));
        assert!(tag(2).previous_attempt().unwrap().covers(&named(&again)));
    }

    #[test]
    fn other_action_or_installation_has_other_digest() {
        let cx = create_context("40_executor_first_attempt");
        let base = tag(1);
        let mut elsewhere = cx.clone();
        elsewhere.output_prefix = cx.output_prefix.replacen("s3://", "gs://", 1);
        let mut action = cx.clone();
        action.execution.environment_variables.insert("ACTION_NAME".to_owned(), "a7".to_owned());
        for other in [elsewhere, action] {
            assert_ne!(RunTag::of(&Execution::of(&other)).unwrap().action, base.action);
        }
        let mut unnamed = cx;
        unnamed.execution = flyteidl2::connector::TaskExecutionMetadata::default();
        assert_eq!(RunTag::of(&Execution::of(&unnamed)), None);
    }

    #[test]
    fn run_is_found_by_name_or_by_task_description() {
        let [first, second, third] = [1, 2, 3].map(tag);
        assert!(second.covers(&named(&first)));
        assert!(second.covers(&named(&second)));
        assert!(!second.covers(&named(&third)));
        let described = run(
            json!({"run_name": "nightly", "tasks": [{"task_key": "t", "description": first.to_string()}]}),
        );
        assert!(second.covers(&described));
        for strange in ["", "[flyte:", "[flyte:x]", "[flyte:x:y]", "[flyte:0123456789abcdef:1]"] {
            assert!(!second.covers(&run(json!({ "run_name": strange }))), "{strange}");
        }
    }
}
