//! What a Flyte request gives the run of its task, computed once from the request. Pure.
//!
//! What the user wrote for Databricks is `crate::task`.

use std::collections::BTreeMap;

use connector_core::{CreateContext, Error, attempt::AttemptId, template::Variables};
use flyteidl2::core::TaskMetadata;
use prost_types::Duration;

use super::container::Container;

/// Environment variables whose values Flyte's runtime also gets as arguments (flyte-contract.md#observed-backend).
const ALSO_ARGUMENTS: [&str; 4] = ["RUN_NAME", "ACTION_NAME", "_U_RUN_BASE", "_U_ORG_NAME"];

/// Flyte's runtime, and what the plugin for Databricks needs of others: all its dependencies except `PySpark`, which the
/// platform has (flyte-contract.md#task-side).
const RUNTIME: [&str; 3] = ["flyte[connector]", "aiohttp", "nest-asyncio"];

/// Flyte's plugins that a task's module imports. They require `PySpark`, which must not replace the platform's
/// (databricks-api.md#serverless-environments).
const PLUGINS: [&str; 2] = ["flyteplugins-databricks", "flyteplugins-spark"];

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

/// The time limits of a task, in whole seconds of at least 1. `None` means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TimeLimits {
    /// `timeout=` or `Timeout.max_runtime`: of one attempt.
    pub(crate) max_runtime: Option<i64>,
    /// `Timeout.deadline`: of all attempts together.
    pub(crate) deadline: Option<i64>,
    /// `Timeout.max_queued_time`: until the run starts. Databricks has no such limit.
    pub(crate) max_queued_time: Option<i64>,
}

impl TimeLimits {
    fn new(metadata: &TaskMetadata) -> Self {
        let strategy = metadata.timeouts.as_ref();
        Self {
            max_runtime: seconds(metadata.timeout.as_ref()),
            deadline: seconds(strategy.and_then(|strategy| strategy.deadline.as_ref())),
            max_queued_time: seconds(
                strategy.and_then(|strategy| strategy.queued_timeout.as_ref()),
            ),
        }
    }

    /// Returns `timeout_seconds` of a run: the user's own value, else the limit of an attempt, unless the deadline is
    /// shorter. A value of 0 means no limit (databricks-api.md#runs-submit).
    pub(crate) fn timeout_seconds(self, users: Option<i64>) -> Option<i64> {
        let limit = users.or(self.max_runtime);
        match (limit, self.deadline) {
            (Some(0), Some(deadline)) => Some(deadline),
            (limit, deadline) => limit.into_iter().chain(deadline).min(),
        }
    }

    /// Returns which limits Databricks cannot enforce, in words for the user. A run of a saved job takes none.
    pub(crate) fn not_enforced(self, is_saved_job: bool) -> Option<String> {
        let of_saved_job = |limit: Option<i64>| limit.filter(|_| is_saved_job);
        let limits: Vec<String> = [
            ("timeout", of_saved_job(self.max_runtime)),
            ("deadline", of_saved_job(self.deadline)),
            ("max_queued_time", self.max_queued_time),
        ]
        .into_iter()
        .filter_map(|(name, limit)| Some(format!("`{name}` of {} s", limit?)))
        .collect();
        let why = if is_saved_job {
            "Databricks takes no time limit for a run of a saved job"
        } else {
            "Databricks has no limit for the time in its queue"
        };
        (!limits.is_empty()).then(|| format!("{} not enforced: {why}", limits.join(", ")))
    }
}

/// Returns a duration in seconds, rounded up and within the 32 bits of the API. `None` unless it is positive.
fn seconds(duration: Option<&Duration>) -> Option<i64> {
    let duration = duration?;
    let seconds = duration.seconds.saturating_add(i64::from(duration.nanos > 0));
    (seconds > 0).then_some(seconds.min(i64::from(i32::MAX)))
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
            runtime_requirements: requirements(&RUNTIME, "==", version),
            // Not every release of Flyte has one of the plugins (flyte-contract.md#task-side).
            plugin_requirements: requirements(&PLUGINS, "<=", version),
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

/// Returns pip requirements. The relation holds for the packages of Flyte, if the version is that of a release.
fn requirements(packages: &[&str], relation: &str, version: &str) -> Vec<String> {
    let is_release = version.split('.').count() >= 2
        && version
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    let requirement = |package: &&str| {
        let relation = if is_release && package.starts_with("flyte") { relation } else { "" };
        let version = if relation.is_empty() { "" } else { version };
        format!("{package}{relation}{version}")
    };
    packages.iter().map(requirement).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortest_limit_is_the_timeout_of_a_run() {
        let limits =
            |max_runtime, deadline| TimeLimits { max_runtime, deadline, max_queued_time: None };
        for (limits, users, timeout) in [
            (limits(None, None), None, None),
            (limits(Some(600), None), None, Some(600)),
            (limits(Some(600), Some(20)), None, Some(20)),
            (limits(Some(20), Some(600)), None, Some(20)),
            (limits(None, Some(20)), None, Some(20)),
            (limits(Some(600), None), Some(60), Some(60)),
            (limits(Some(60), None), Some(600), Some(600)),
            (limits(Some(60), None), Some(0), Some(0)),
            (limits(None, Some(20)), Some(600), Some(20)),
            (limits(None, Some(20)), Some(0), Some(20)),
        ] {
            assert_eq!(limits.timeout_seconds(users), timeout, "{limits:?} {users:?}");
        }
    }

    #[test]
    fn durations_are_rounded_up_and_bounded() {
        for (duration, limit) in [
            ((20, 0), Some(20)),
            ((20, 1), Some(21)),
            ((0, 1), Some(1)),
            ((0, 0), None),
            ((-5, 0), None),
            ((i64::MAX, 999_999_999), Some(i64::from(i32::MAX))),
            ((i64::MIN, -1), None),
        ] {
            let (seconds, nanos) = duration;
            assert_eq!(super::seconds(Some(&Duration { seconds, nanos })), limit, "{duration:?}");
        }
    }

    #[test]
    fn requirements_name_only_releases() {
        assert_eq!(
            requirements(&RUNTIME, "==", "2.5.16"),
            ["flyte[connector]==2.5.16", "aiohttp", "nest-asyncio"]
        );
        assert_eq!(
            requirements(&PLUGINS, "<=", "2.5.16"),
            ["flyteplugins-databricks<=2.5.16", "flyteplugins-spark<=2.5.16"]
        );
        for unreleased in ["", "2", "2.5.16b1", "0.1.dev1+g1", "2..1"] {
            assert_eq!(requirements(&PLUGINS, "<=", unreleased), PLUGINS, "{unreleased}");
        }
    }

    #[test]
    fn run_base_is_two_folders_above_the_output_prefix() {
        assert_eq!(run_base_of("s3://bucket/5w/p/d/run/a0/1"), "s3://bucket/5w/p/d/run/");
        assert_eq!(run_base_of("s3://bucket/5w/p/d/run/a0/1/"), "s3://bucket/5w/p/d/run/");
        for short in ["", "s3://bucket", "s3://bucket/x", "a/b"] {
            assert_eq!(run_base_of(short), "", "{short}");
        }
    }
}
