//! Where the work runs: the cluster of a task, completed from the Flyte side.

use std::collections::BTreeMap;

use connector_core::{CreateContext, Error};
use flyteidl2::core::task_template::Target;
use serde_json::{Map, Value, json};

use crate::{json, task::DatabricksTask};

/// The compute that the user chose.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Compute {
    /// `new_cluster`: made for this run.
    NewCluster(Map<String, Value>),
    /// `existing_cluster_id`: already there.
    ExistingCluster(String),
}

impl Compute {
    /// Takes the compute out of the task-level keys.
    ///
    /// # Errors
    ///
    /// `InvalidTask` when there is none, or more than one.
    pub(crate) fn take(task: &mut Map<String, Value>) -> Result<Self, Error> {
        let new_cluster = json::take_given(task, "new_cluster");
        let existing = json::take_given(task, "existing_cluster_id");
        match (new_cluster, existing) {
            (Some(_), Some(_)) => Err(Error::invalid_task(
                "the task names both `new_cluster` and `existing_cluster_id`",
            )
            .with_hint("keep one of them in `databricks_conf`")),
            (Some(cluster), None) => Ok(Self::NewCluster(json::object(cluster, "new_cluster")?)),
            (None, Some(Value::String(id))) => Ok(Self::ExistingCluster(id)),
            (None, Some(other)) => Err(json::wrong("existing_cluster_id", "a string", &other)),
            (None, None) => Err(Error::invalid_task("the task names no compute")
                .with_hint("add `new_cluster` or `existing_cluster_id` to `databricks_conf`")),
        }
    }

    /// Writes the compute into the task-level keys, completed with what Flyte knows: the container's image, the Spark
    /// and Hadoop configuration, the environment. What the user wrote for the cluster wins, but for the environment,
    /// where the container's own variables win as they do in the Python plugin (FC §2.9).
    pub(crate) fn write(
        self,
        task: &mut Map<String, Value>,
        flyte: &FlyteSide<'_>,
    ) -> Result<(), Error> {
        match self {
            Self::ExistingCluster(id) => {
                task.insert("existing_cluster_id".to_owned(), Value::String(id));
            }
            Self::NewCluster(mut cluster) => {
                if !cluster.get("docker_image").is_some_and(json::is_given) {
                    cluster.remove("docker_image");
                    if let Some(image) = flyte.image() {
                        cluster.insert("docker_image".to_owned(), json!({ "url": image }));
                    }
                }
                let spark_conf = flyte.spark_conf(cluster.remove("spark_conf"))?;
                if !spark_conf.is_empty() {
                    cluster.insert("spark_conf".to_owned(), Value::Object(spark_conf));
                }
                let environment = flyte.environment(cluster.remove("spark_env_vars"))?;
                if !environment.is_empty() {
                    cluster.insert("spark_env_vars".to_owned(), Value::Object(environment));
                }
                task.insert("new_cluster".to_owned(), Value::Object(cluster));
            }
        }
        Ok(())
    }
}

/// What Flyte says of the task's surroundings.
#[derive(Debug)]
pub(crate) struct FlyteSide<'a> {
    image: Option<&'a str>,
    container_environment: BTreeMap<&'a str, &'a str>,
    request_environment: BTreeMap<&'a str, &'a str>,
    spark_conf: &'a Map<String, Value>,
    hadoop_conf: &'a Map<String, Value>,
}

impl<'a> FlyteSide<'a> {
    pub(crate) fn of(cx: &'a CreateContext, task: &'a DatabricksTask) -> Self {
        let container = match &cx.template.target {
            Some(Target::Container(container)) => Some(container),
            _ => None,
        };
        Self {
            image: container
                .map(|container| container.image.as_str())
                .filter(|image| !image.is_empty()),
            container_environment: container
                .into_iter()
                .flat_map(|container| &container.env)
                .map(|pair| (pair.key.as_str(), pair.value.as_str()))
                .collect(),
            request_environment: cx
                .execution
                .environment_variables
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect(),
            spark_conf: &task.spark_conf,
            hadoop_conf: &task.hadoop_conf,
        }
    }

    fn image(&self) -> Option<&str> {
        self.image
    }

    /// Hadoop's keys under `spark.hadoop.`, then Spark's, then the user's own for the cluster: the last one wins.
    fn spark_conf(&self, users_own: Option<Value>) -> Result<Map<String, Value>, Error> {
        let hadoop = json::text_map(Some(Value::Object(self.hadoop_conf.clone())), "hadoopConf")?;
        let mut merged: Map<String, Value> =
            hadoop.into_iter().map(|(key, value)| (format!("spark.hadoop.{key}"), value)).collect();
        merged.extend(json::text_map(Some(Value::Object(self.spark_conf.clone())), "sparkConf")?);
        merged.extend(json::text_map(users_own, "new_cluster.spark_conf")?);
        Ok(merged)
    }

    /// The request's variables, then the user's own for the cluster, then the container's: the last one wins.
    fn environment(&self, users_own: Option<Value>) -> Result<Map<String, Value>, Error> {
        let text =
            |(key, value): (&&str, &&str)| ((*key).to_owned(), Value::String((*value).to_owned()));
        let mut merged: Map<String, Value> = self.request_environment.iter().map(text).collect();
        merged.extend(json::text_map(users_own, "new_cluster.spark_env_vars")?);
        merged.extend(self.container_environment.iter().map(text));
        Ok(merged)
    }
}
