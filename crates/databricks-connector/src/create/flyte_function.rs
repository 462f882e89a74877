//! What Flyte says of a task's surroundings: its container, its variables, its Spark settings, who it is.

use connector_core::{CreateContext, Error};
use serde_json::{Map, Value};

use crate::{
    create::{arguments::Variables, container::Container, input_variables, tags},
    task::{DatabricksTask, execution::Execution, json},
};

/// Variables whose values Flyte's runtime gets as arguments too (FC §8.2).
const CARRIED_BY_ARGUMENTS: [&str; 4] = ["RUN_NAME", "ACTION_NAME", "_U_RUN_BASE", "_U_ORG_NAME"];

/// What Flyte says of a task's surroundings.
#[derive(Debug)]
pub(crate) struct FlyteSide<'a> {
    pub(crate) container: Container,
    pub(crate) execution: Execution,
    cx: &'a CreateContext,
    task: &'a DatabricksTask,
    /// Tags for new clusters; none when the operator switched them off.
    tags: Option<tags::Cloud>,
}

impl<'a> FlyteSide<'a> {
    pub(crate) fn of(
        cx: &'a CreateContext,
        task: &'a DatabricksTask,
        tags: Option<tags::Cloud>,
    ) -> Result<Self, Error> {
        Ok(Self { container: Container::of(cx)?, execution: Execution::of(cx), cx, task, tags })
    }

    /// Hadoop's keys under `spark.hadoop.`, then Spark's, then the user's own for the cluster: the last one wins.
    pub(crate) fn spark_conf(&self, users_own: Option<Value>) -> Result<Map<String, Value>, Error> {
        let hadoop =
            json::text_map(Some(Value::Object(self.task.hadoop_conf.clone())), "hadoopConf")?;
        let mut merged: Map<String, Value> =
            hadoop.into_iter().map(|(key, value)| (format!("spark.hadoop.{key}"), value)).collect();
        merged.extend(json::text_map(
            Some(Value::Object(self.task.spark_conf.clone())),
            "sparkConf",
        )?);
        merged.extend(json::text_map(users_own, "new_cluster.spark_conf")?);
        Ok(merged)
    }

    /// The variables of the task: the request's, then the container's, which win.
    pub(crate) fn environment(&self) -> Map<String, Value> {
        let pairs =
            self.cx.execution.environment_variables.iter().chain(&self.container.environment);
        pairs.map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect()
    }

    /// Whether the task has variables that no argument of the runtime carries.
    pub(crate) fn has_variables_of_its_own(&self) -> bool {
        self.environment().keys().any(|key| !CARRIED_BY_ARGUMENTS.contains(&key.as_str()))
    }

    /// The variables of a new cluster: the request's, then the user's own for the cluster, then the container's.
    pub(crate) fn cluster_environment(
        &self,
        users_own: Option<Value>,
    ) -> Result<Map<String, Value>, Error> {
        let text = |(key, value): (&String, &String)| (key.clone(), Value::String(value.clone()));
        let mut merged: Map<String, Value> =
            self.cx.execution.environment_variables.iter().map(text).collect();
        merged.extend(json::text_map(users_own, "new_cluster.spark_env_vars")?);
        merged.extend(self.container.environment.iter().map(text));
        Ok(merged)
    }

    /// Tags that lead from a cluster back to its Flyte run; the user's own win.
    pub(crate) fn tags(&self, users_own: Option<Value>) -> Result<Map<String, Value>, Error> {
        let users_own = json::text_map(users_own, "new_cluster.custom_tags")?;
        Ok(match self.tags {
            None => users_own,
            Some(cloud) => tags::merged(cloud, &self.execution, &self.task_name(), users_own),
        })
    }

    /// Values of the variables that stand unrendered in the arguments.
    pub(crate) fn variables(&self) -> Variables {
        if self.container.pod_template.is_some() {
            let mut variables =
                self.execution.pod_variables(&self.cx.output_prefix, &self.cx.execution.namespace);
            variables.extend(input_variables::variables(&self.cx.inputs));
            variables
        } else {
            self.execution.variables()
        }
    }

    /// The name of the task.
    pub(crate) fn task_name(&self) -> String {
        self.cx
            .template
            .id
            .as_ref()
            .map(|id| id.name.clone())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "task".to_owned())
    }

    /// The requirement that installs Flyte's runtime, at the version of the SDK that made the task.
    pub(crate) fn runtime_requirement(&self) -> String {
        let runtime =
            self.cx.template.metadata.as_ref().and_then(|metadata| metadata.runtime.as_ref());
        let version = runtime.map(|runtime| runtime.version.as_str()).unwrap_or_default();
        let is_release = version.split('.').count() >= 2
            && version
                .split('.')
                .all(|part| part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty());
        if is_release { format!("flyte=={version}") } else { "flyte".to_owned() }
    }
}
