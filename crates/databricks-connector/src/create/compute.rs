//! Where the work runs: a cluster of its own, one that is there, serverless, or wherever the kind of work runs.

use connector_core::Error;
use serde_json::{Map, Value, json};

use crate::{
    create::{flyte_function::FlyteSide, serverless, workload::Work},
    task::json,
};

/// The compute that the user chose.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Compute {
    /// `new_cluster`: made for this run.
    NewCluster(Map<String, Value>),
    /// `existing_cluster_id`: already there.
    ExistingCluster(String),
    /// No cluster at all.
    Serverless,
    /// The work brings or needs none: a SQL warehouse, a pipeline, another job.
    OfTheWork,
}

impl Compute {
    /// Takes the compute out of the user's keys.
    ///
    /// Serverless is asked for by `serverless: true`, by `environment_key` or `environments`, or by `compute`.
    ///
    /// # Errors
    ///
    /// `InvalidTask` when there is none and the work needs one, or more than one.
    pub(crate) fn take(
        run: &mut Map<String, Value>,
        task: &mut Map<String, Value>,
        work: &Work,
    ) -> Result<Self, Error> {
        let serverless = match run.remove("serverless") {
            None | Some(Value::Null) => None,
            Some(Value::Bool(flag)) => Some(flag),
            Some(other) => return Err(json::wrong("serverless", "a boolean", &other)),
        };
        let new_cluster = json::take_given(task, "new_cluster");
        let existing = json::take_given(task, "existing_cluster_id");
        if serverless == Some(true) && (new_cluster.is_some() || existing.is_some()) {
            return Err(Error::invalid_task(
                "the task asks for serverless compute and names a cluster",
            )
            .with_hint("keep one of them in `databricks_conf`"));
        }
        let wants_environment = ["environment_key", "compute"]
            .iter()
            .any(|key| task.get(*key).is_some_and(json::is_given))
            || run.get("environments").is_some_and(json::is_given);
        match (new_cluster, existing) {
            (Some(_), Some(_)) => Err(Error::invalid_task("the task names both `new_cluster` and `existing_cluster_id`")
                .with_hint("keep one of them in `databricks_conf`")),
            (Some(cluster), None) => Ok(Self::NewCluster(json::object(cluster, "new_cluster")?)),
            (None, Some(Value::String(id))) => Ok(Self::ExistingCluster(id)),
            (None, Some(other)) => Err(json::wrong("existing_cluster_id", "a string", &other)),
            (None, None) if serverless == Some(true) || (serverless.is_none() && wants_environment) => Ok(Self::Serverless),
            (None, None) if !work.needs_compute() => Ok(Self::OfTheWork),
            (None, None) => Err(Error::invalid_task("the task names no compute").with_hint(
                "add `new_cluster` or `existing_cluster_id` to `databricks_conf`, or `serverless: true`",
            )),
        }
    }

    /// Whether the task's environment can be given by the compute itself.
    pub(crate) fn carries_environment(&self) -> bool {
        matches!(self, Self::NewCluster(_))
    }

    /// Writes the compute into the user's keys, completed with what Flyte knows: the image, the Spark and Hadoop
    /// configuration, the environment. What the user wrote for the cluster wins, but for the environment,
    /// where the container's own variables win as they do in the Python plugin (FC §2.9).
    ///
    /// # Errors
    ///
    /// `InvalidTask` when a field has the wrong type.
    pub(crate) fn write(
        self,
        run: &mut Map<String, Value>,
        task: &mut Map<String, Value>,
        work: &Work,
        flyte: &FlyteSide<'_>,
    ) -> Result<(), Error> {
        match self {
            Self::OfTheWork => {}
            Self::Serverless => serverless::write(run, task, work, flyte)?,
            Self::ExistingCluster(id) => {
                task.insert("existing_cluster_id".to_owned(), Value::String(id));
            }
            Self::NewCluster(cluster) => {
                task.insert("new_cluster".to_owned(), Value::Object(completed(cluster, flyte)?));
            }
        }
        Ok(())
    }
}

fn completed(
    mut cluster: Map<String, Value>,
    flyte: &FlyteSide<'_>,
) -> Result<Map<String, Value>, Error> {
    if let Some(image) = docker_image(cluster.remove("docker_image"), flyte) {
        cluster.insert("docker_image".to_owned(), image);
    }
    let maps = [
        ("spark_conf", flyte.spark_conf(cluster.remove("spark_conf"))?),
        ("spark_env_vars", flyte.cluster_environment(cluster.remove("spark_env_vars"))?),
    ];
    for (key, map) in maps {
        if !map.is_empty() {
            cluster.insert(key.to_owned(), Value::Object(map));
        }
    }
    Ok(cluster)
}

/// The image of a new cluster: the task's where the user says nothing, or says only who may pull it. A null or `{}` says
/// that there is none: many workspaces take no images at all, and a notebook needs none.
fn docker_image(users_own: Option<Value>, flyte: &FlyteSide<'_>) -> Option<Value> {
    let image = flyte.container.image.as_deref();
    match users_own {
        None => image.map(|image| json!({ "url": image })),
        Some(Value::Object(mut own)) if !own.is_empty() => {
            if let Some(image) = image
                && !own.get("url").is_some_and(json::is_given)
            {
                own.insert("url".to_owned(), Value::String(image.to_owned()));
            }
            Some(Value::Object(own))
        }
        Some(other) => Some(other).filter(json::is_given),
    }
}

/// Adds the tags that lead back to Flyte to every cluster that a run makes: those of its tasks, of what they repeat, and
/// the shared ones. Nothing else of them is touched.
///
/// # Errors
///
/// `InvalidTask` when the user's own tags have the wrong type.
pub(crate) fn tag_clusters(
    run: &mut Map<String, Value>,
    flyte: &FlyteSide<'_>,
) -> Result<(), Error> {
    for key in ["tasks", "job_clusters"] {
        for owner in run.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
            tag_cluster(owner, flyte)?;
            if let Some(repeated) = owner.pointer_mut("/for_each_task/task") {
                tag_cluster(repeated, flyte)?;
            }
        }
    }
    Ok(())
}

fn tag_cluster(owner: &mut Value, flyte: &FlyteSide<'_>) -> Result<(), Error> {
    if let Some(cluster) = owner.get_mut("new_cluster").and_then(Value::as_object_mut) {
        let tags = flyte.tags(cluster.remove("custom_tags"))?;
        if !tags.is_empty() {
            cluster.insert("custom_tags".to_owned(), Value::Object(tags));
        }
    }
    Ok(())
}
