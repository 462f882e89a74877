//! The mark by which a run says which attempt it is for, so that a run that nobody waits for can be found (DESIGN §3.1).
//! Pure.

use std::fmt;

use connector_core::CreateContext;
use databricks_client::jobs::Run;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::task::{execution::Execution, json};

/// Hexadecimal characters of the action's hash.
const HASH: usize = 16;

/// One attempt of one action of one Flyte installation, such as `[flyte:0123456789abcdef:2]`. The run of an attempt whose
/// earlier run was given up says how often that was: `[flyte:0123456789abcdef:2.1]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunTag {
    action: String,
    /// Counts from 1, as Flyte's own label does.
    pub(crate) attempt: u32,
    /// How many runs of this attempt were given up before this one.
    abandoned: u32,
}

impl RunTag {
    /// The mark of a request; none when it names no execution.
    ///
    /// The place of the outputs is part of it, but for the folder of the attempt, because it differs between Flyte
    /// installations that share a workspace (FC §1.4).
    pub(crate) fn of(cx: &CreateContext, execution: &Execution) -> Option<Self> {
        if !execution.is_identified {
            return None;
        }
        let prefix = cx.output_prefix.trim_end_matches('/');
        let place = prefix.rsplit_once('/').map_or(prefix, |(place, _attempt)| place);
        let mut hash = Sha256::new();
        for part in [
            &execution.org,
            &execution.project,
            &execution.domain,
            &execution.run,
            &execution.action,
            place,
        ] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let action = hash
            .finalize()
            .iter()
            .take(HASH / 2)
            .fold(String::with_capacity(HASH), |text, byte| text + &format!("{byte:02x}"));
        let attempt = execution.retry_attempt.saturating_add(1);
        Some(Self { action, attempt, abandoned: cx.abandoned_creates })
    }

    /// The mark in a text, if it has one.
    fn find(text: &str) -> Option<Self> {
        let (_, marked) = text.rsplit_once("[flyte:")?;
        let (marked, _) = marked.split_once(']')?;
        let (action, attempt) = marked.split_once(':')?;
        let (attempt, abandoned) = attempt.split_once('.').unwrap_or((attempt, "0"));
        Some(Self {
            action: action.to_owned(),
            attempt: attempt.parse().ok()?,
            abandoned: abandoned.parse().ok()?,
        })
    }

    /// Puts the mark into the description of the first task, where the user named the run and described no task.
    pub(crate) fn describe(&self, run: &mut Map<String, Value>) {
        let task = run.get_mut("tasks").and_then(|tasks| tasks.pointer_mut("/0"));
        if let Some(Value::Object(task)) = task
            && !task.get("description").is_some_and(json::is_given)
        {
            task.insert("description".to_owned(), Value::String(self.to_string()));
        }
    }

    /// Whether the run is for the same action, and for this attempt or an earlier one. A run that took the place of one
    /// that this attempt gave up is neither: a look that comes late must not find it.
    pub(crate) fn is_up_to_here(&self, run: &Run) -> bool {
        let described = run.tasks.iter().filter_map(|task| task.description.as_deref());
        run.run_name.as_deref().into_iter().chain(described).filter_map(Self::find).any(|found| {
            found.action == self.action
                && (found.attempt, found.abandoned) <= (self.attempt, self.abandoned)
        })
    }

    /// The mark of the last run that the attempt before can have; none for the first.
    pub(crate) fn before(&self) -> Option<Self> {
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

    /// The mark of that attempt, which counts from 1 here.
    fn marker(attempt: u32) -> RunTag {
        let mut cx = create_context("40_executor_first_attempt");
        cx.execution.task_execution_id.as_mut().unwrap().retry_attempt = attempt - 1;
        let place = cx.output_prefix.strip_suffix("/1").unwrap();
        cx.output_prefix = format!("{place}/{attempt}");
        RunTag::of(&cx, &Execution::of(&cx)).unwrap()
    }

    fn named(marker: &RunTag) -> Run {
        run(json!({"run_name": format!("flyte t (p/d/r/a0) {marker}")}))
    }

    fn run(value: Value) -> Run {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn attempts_of_one_action_share_the_hash_and_count_from_one() {
        let (first, second) = (marker(1), marker(2));
        assert_eq!((first.attempt, second.attempt), (1, 2));
        assert_eq!(first.action, second.action);
        assert!(second.before().unwrap().is_up_to_here(&named(&first)));
        assert!(!second.before().unwrap().is_up_to_here(&named(&second)));
        assert_eq!(first.before(), None);
        assert_eq!(RunTag::find(&format!("x {second} y")), Some(second));
    }

    #[test]
    fn a_run_that_took_the_place_of_another_says_so() {
        let first = marker(1);
        let again = RunTag { abandoned: 1, ..first.clone() };
        assert!(first.to_string().ends_with(":1]") && again.to_string().ends_with(":1.1]"));
        assert_eq!(RunTag::find(&again.to_string()), Some(again.clone()));
        assert!(!first.is_up_to_here(&named(&again)));
        assert!(again.is_up_to_here(&named(&first)));
        assert!(marker(2).before().unwrap().is_up_to_here(&named(&again)));
    }

    #[test]
    fn another_action_or_another_installation_has_another_hash() {
        let cx = create_context("40_executor_first_attempt");
        let base = marker(1);
        let mut elsewhere = cx.clone();
        elsewhere.output_prefix = cx.output_prefix.replacen("s3://", "gs://", 1);
        let mut action = cx.clone();
        action.execution.environment_variables.insert("ACTION_NAME".to_owned(), "a7".to_owned());
        for other in [elsewhere, action] {
            assert_ne!(RunTag::of(&other, &Execution::of(&other)).unwrap().action, base.action);
        }
        let mut unnamed = cx;
        unnamed.execution = flyteidl2::connector::TaskExecutionMetadata::default();
        assert_eq!(RunTag::of(&unnamed, &Execution::of(&unnamed)), None);
    }

    #[test]
    fn a_run_is_found_by_its_name_or_by_the_description_of_a_task() {
        let [first, second, third] = [1, 2, 3].map(marker);
        assert!(second.is_up_to_here(&named(&first)));
        assert!(second.is_up_to_here(&named(&second)));
        assert!(!second.is_up_to_here(&named(&third)));
        let described = run(
            json!({"run_name": "nightly", "tasks": [{"task_key": "t", "description": first.to_string()}]}),
        );
        assert!(second.is_up_to_here(&described));
        for strange in ["", "[flyte:", "[flyte:x]", "[flyte:x:y]", "[flyte:0123456789abcdef:1]"] {
            assert!(!second.is_up_to_here(&run(json!({ "run_name": strange }))), "{strange}");
        }
    }
}
