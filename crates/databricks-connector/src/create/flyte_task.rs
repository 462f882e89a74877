//! What a Flyte request gives the run of its task, computed once from the request. Pure.
//!
//! What the user wrote for Databricks is `crate::task`.

use std::collections::BTreeMap;

use super::{container::Container, requirements, time_limits::TimeLimits};
use connector_core::{CreateContext, Error, attempt::AttemptId, template::Variables};

/// Environment variables whose values Flyte's runtime also gets as arguments (flyte-contract.md#observed-backend).
const ALSO_ARGUMENTS: [&str; 4] = ["RUN_NAME", "ACTION_NAME", "_U_RUN_BASE", "_U_ORG_NAME"];

/// The parts of a request that a submission is made from.
#[derive(Debug)]
pub(crate) struct FlyteTask {
    /// The name of the task; `task` when the request has none.
    pub(crate) name: String,
    pub(crate) attempt: AttemptId,
    /// The folder that all actions of the run share; empty if unknown.
    pub(crate) run_base: String,
    pub(crate) container: Container,
    /// The request's environment variables, overridden by the container's.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) template_variables: Variables,
    pub(crate) time_limits: TimeLimits,
    /// The pip requirements of Flyte's runtime, at the version of the SDK that made the task.
    pub(crate) runtime_requirements: Vec<String>,
    /// The pip requirements of Flyte's plugins for Databricks and Spark, to be installed without their dependencies.
    pub(crate) plugin_requirements: Vec<String>,
}

impl FlyteTask {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// `InvalidTask` for an unusable pod template.
    pub(crate) fn from_request(cx: &CreateContext) -> Result<Self, Error> {
        let container = Container::from_request(cx)?;
        let attempt = AttemptId::from_request(cx);
        let mut environment: BTreeMap<_, _> =
            cx.execution.environment_variables.clone().into_iter().collect();
        environment.extend(container.environment.clone());
        let template_variables = if container.pod_template.is_some() {
            variables_of_pod_template(cx)
        } else {
            Variables::of_attempt(&attempt)
        };
        let name = Some(attempt.task().name.as_str()).filter(|name| !name.is_empty());
        let metadata = cx.template.metadata.as_ref();
        let runtime = metadata.and_then(|metadata| metadata.runtime.as_ref());
        let version = runtime.map(|runtime| runtime.version.as_str()).unwrap_or_default();
        Ok(Self {
            name: name.unwrap_or("task").to_owned(),
            time_limits: metadata.map(TimeLimits::new).unwrap_or_default(),
            runtime_requirements: requirements::of_runtime(version),
            plugin_requirements: requirements::of_plugins(version),
            run_base: run_base(cx),
            attempt,
            container,
            environment,
            template_variables,
        })
    }

    /// True if an environment variable is not also an argument of the runtime.
    pub(crate) fn has_variables_beyond_arguments(&self) -> bool {
        self.environment.keys().any(|key| !ALSO_ARGUMENTS.contains(&key.as_str()))
    }
}

/// Returns the variables of a pod template, which the executor does not render (flyte-contract.md#createtask).
fn variables_of_pod_template(cx: &CreateContext) -> Variables {
    let mut variables = Variables::of_request(cx);
    let prefix = cx.output_prefix.trim_end_matches('/');
    if !prefix.is_empty() {
        // The file that `pod_template_inputs` writes.
        variables.insert("input", task_storage::inputs_url(prefix));
        variables.insert("inputPrefix", prefix);
    }
    // No request contains it, and the SDK writes it into the arguments of every function. The runtime takes the current
    // time when the variable stays unrendered.
    variables.insert("runStartTime", "1970-01-01T00:00:00Z");
    variables
}

/// Returns the run base: the variable of the request, or a guess from the output prefix.
fn run_base(cx: &CreateContext) -> String {
    match cx.execution.environment_variables.get("_U_RUN_BASE") {
        Some(base) if !base.is_empty() => base.clone(),
        _ => run_base_of(&cx.output_prefix),
    }
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
