//! The names and ids of one attempt, as the request gives them.

use connector_core::CreateContext;
use flyteidl2::core::Identifier;

/// The names of one attempt, as Flyte's own pods get them. A name that the request lacks is empty.
///
/// Each is read from the request's environment variables, else from the execution id, else from the task's id: the
/// runtime in the task reads the variables (flyte-contract.md#observed-backend).
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Execution {
    pub(crate) org: String,
    pub(crate) project: String,
    pub(crate) domain: String,
    /// The name of the run.
    pub(crate) run: String,
    /// The action within the run.
    pub(crate) action: String,
    /// The folder that all actions of the run share.
    pub(crate) run_base: String,
    /// The Kubernetes namespace of the project and domain.
    pub(crate) namespace: String,
    /// The folder of this attempt's outputs.
    pub(crate) output_prefix: String,
    /// The id of the task template.
    pub(crate) task: Identifier,
    /// Counts from 0.
    pub(crate) retry_attempt: u32,
    /// Abandoned runs of this attempt before this one.
    pub(crate) abandoned: u32,
    /// True if the request names an execution.
    pub(crate) is_identified: bool,
}

impl Execution {
    pub(crate) fn of(cx: &CreateContext) -> Self {
        let id = cx.execution.task_execution_id.clone().unwrap_or_default();
        let is_identified = id.node_execution_id.is_some();
        let node = id.node_execution_id.unwrap_or_default();
        let run = node.execution_id.unwrap_or_default();
        let executed = id.task_id.unwrap_or_default();
        let template = cx.template.id.clone().unwrap_or_default();
        let variable =
            |name: &str| cx.execution.environment_variables.get(name).cloned().unwrap_or_default();
        Self {
            org: first([variable("_U_ORG_NAME"), run.org, executed.org, template.org.clone()]),
            project: first([
                variable("FLYTE_INTERNAL_EXECUTION_PROJECT"),
                run.project,
                executed.project,
                template.project.clone(),
            ]),
            domain: first([
                variable("FLYTE_INTERNAL_EXECUTION_DOMAIN"),
                run.domain,
                executed.domain,
                template.domain.clone(),
            ]),
            run: first([variable("RUN_NAME"), run.name]),
            action: first([variable("ACTION_NAME"), node.node_id]),
            run_base: first([variable("_U_RUN_BASE"), run_base_of(&cx.output_prefix)]),
            namespace: cx.execution.namespace.clone(),
            output_prefix: cx.output_prefix.clone(),
            task: template,
            retry_attempt: id.retry_attempt,
            abandoned: cx.abandoned_creates,
            is_identified,
        }
    }

    /// Returns the attempt counted from 1, as Flyte's label and folders count it.
    pub(crate) fn attempt(&self) -> u32 {
        self.retry_attempt.saturating_add(1)
    }
}

fn first<const N: usize>(candidates: [String; N]) -> String {
    candidates.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}

/// Guesses the run base from the output prefix, which is `<base>/<action>/<attempt>`
/// (flyte-contract.md#task-execution-metadata). The prefix may have a shard that the base lacks.
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
    fn run_base_is_two_folders_above_the_output_prefix() {
        assert_eq!(run_base_of("s3://bucket/5w/p/d/run/a0/1"), "s3://bucket/5w/p/d/run/");
        assert_eq!(run_base_of("s3://bucket/5w/p/d/run/a0/1/"), "s3://bucket/5w/p/d/run/");
        for short in ["", "s3://bucket", "s3://bucket/x", "a/b"] {
            assert_eq!(run_base_of(short), "", "{short}");
        }
    }
}
