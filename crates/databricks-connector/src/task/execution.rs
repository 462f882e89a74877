//! Who runs: the ids and names of one attempt, from wherever the request says them.

use connector_core::CreateContext;
use sha2::{Digest as _, Sha256};

use crate::create::arguments::Variables;

/// The names of one attempt, as Flyte's own pods get them.
///
/// Each is looked for in the request's environment variables first, then in the execution id, then in the task's own
/// id: the variables are what the runtime in the task reads (FC §8.2). Empty when nobody says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Execution {
    pub(crate) org: String,
    pub(crate) project: String,
    pub(crate) domain: String,
    /// The name of the run.
    pub(crate) run: String,
    /// The action within the run.
    pub(crate) action: String,
    /// Where the run keeps what its actions share.
    pub(crate) run_base: String,
    /// Counts from 0.
    pub(crate) retry_attempt: u32,
    /// Whether the request named an execution at all.
    pub(crate) is_identified: bool,
}

impl Execution {
    pub(crate) fn of(cx: &CreateContext) -> Self {
        let id = cx.execution.task_execution_id.clone().unwrap_or_default();
        let node = id.node_execution_id.clone().unwrap_or_default();
        let run = node.execution_id.clone().unwrap_or_default();
        let executed = id.task_id.clone().unwrap_or_default();
        let template = cx.template.id.clone().unwrap_or_default();
        let variable =
            |name: &str| cx.execution.environment_variables.get(name).cloned().unwrap_or_default();
        Self {
            org: first([variable("_U_ORG_NAME"), run.org, executed.org, template.org]),
            project: first([
                variable("FLYTE_INTERNAL_EXECUTION_PROJECT"),
                run.project,
                executed.project,
                template.project,
            ]),
            domain: first([
                variable("FLYTE_INTERNAL_EXECUTION_DOMAIN"),
                run.domain,
                executed.domain,
                template.domain,
            ]),
            run: first([variable("RUN_NAME"), run.name]),
            action: first([variable("ACTION_NAME"), node.node_id]),
            run_base: first([variable("_U_RUN_BASE"), run_base_of(&cx.output_prefix)]),
            retry_attempt: id.retry_attempt,
            is_identified: cx
                .execution
                .task_execution_id
                .as_ref()
                .is_some_and(|id| id.node_execution_id.is_some()),
        }
    }

    /// Values of the variables that the executor leaves unrendered everywhere (FC §1.3).
    pub(crate) fn variables(&self) -> Variables {
        [("runname", &self.run), ("actionname", &self.action)]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect()
    }

    /// Values of the variables that Flyte renders for containers and leaves to us in pod templates (FC §1.3). Those of
    /// the inputs name the file that the connector writes before it submits.
    pub(crate) fn pod_variables(&self, output_prefix: &str, namespace: &str) -> Variables {
        let prefix = output_prefix.trim_end_matches('/');
        let mut variables = self.variables();
        if !prefix.is_empty() {
            // The raw data of an attempt lies with its outputs (FC §1.4).
            for name in ["outputprefix", "rawoutputdataprefix"] {
                variables.insert(name.to_owned(), prefix.to_owned());
            }
            variables.insert("inputprefix".to_owned(), prefix.to_owned());
            variables.insert("input".to_owned(), task_storage::inputs_url(prefix));
            variables
                .insert("checkpointoutputprefix".to_owned(), format!("{prefix}/_flytecheckpoints"));
            variables.insert("prevcheckpointprefix".to_owned(), self.previous_checkpoint(prefix));
        }
        // No request tells it, and the SDK writes it into the arguments of every function. Left as it is, the runtime
        // takes this very time for it.
        variables.insert("runstarttime".to_owned(), "1970-01-01T00:00:00Z".to_owned());
        variables.insert("perretryuniquekey".to_owned(), self.unique_key(prefix));
        if !namespace.is_empty() {
            variables.insert("namespace".to_owned(), namespace.to_owned());
        }
        variables
    }

    /// A name for what this attempt makes elsewhere, such as a table: letters and digits, a letter first, the same for
    /// the same attempt and for no other.
    fn unique_key(&self, prefix: &str) -> String {
        let mut hash = Sha256::new();
        let attempt = self.retry_attempt.to_string();
        for part in
            [&self.org, &self.project, &self.domain, &self.run, &self.action, &attempt, prefix]
        {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize()
            .iter()
            .take(12)
            .fold("f".to_owned(), |key, byte| key + &format!("{byte:02x}"))
    }

    /// The checkpoint of the attempt before; two quotes on the first, as the executor writes it (FC §1.3).
    fn previous_checkpoint(&self, prefix: &str) -> String {
        match prefix.rsplit_once('/') {
            // The folder of an attempt counts from 1.
            Some((action, _)) if self.retry_attempt > 0 => {
                format!("{action}/{}/_flytecheckpoints", self.retry_attempt)
            }
            _ => "\"\"".to_owned(),
        }
    }
}

fn first<const N: usize>(candidates: [String; N]) -> String {
    candidates.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}

/// The output prefix is `<base>/<action>/<attempt>` (FC §1.4), but for a shard that the base lacks; it is the best
/// guess when the variable is absent.
fn run_base_of(output_prefix: &str) -> String {
    let mut parts = output_prefix.trim_end_matches('/').rsplitn(3, '/');
    let (attempt, action, base) = (parts.next(), parts.next(), parts.next());
    match (attempt, action, base) {
        (Some(_), Some(_), Some(base)) if !base.is_empty() && !base.ends_with(['/', ':']) => {
            format!("{base}/")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unique_key_is_a_name_that_no_other_attempt_has() {
        let first = Execution { run: "r".to_owned(), ..Execution::default() };
        let second = Execution { retry_attempt: 1, ..first.clone() };
        let key = first.unique_key("s3://b/x");
        assert_eq!(key, first.unique_key("s3://b/x"));
        assert_ne!(key, second.unique_key("s3://b/x"));
        assert_ne!(key, first.unique_key("s3://b/y"));
        assert!(
            key.starts_with('f') && key.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{key}"
        );
    }

    #[test]
    fn the_run_base_is_two_folders_above_the_outputs() {
        assert_eq!(run_base_of("s3://bucket/5w/p/d/run/a0/1"), "s3://bucket/5w/p/d/run/");
        assert_eq!(run_base_of("s3://bucket/5w/p/d/run/a0/1/"), "s3://bucket/5w/p/d/run/");
        for short in ["", "s3://bucket", "s3://bucket/x", "a/b"] {
            assert_eq!(run_base_of(short), "", "{short}");
        }
    }
}
