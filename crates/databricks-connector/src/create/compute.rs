//! The compute of a single task: a new or existing cluster, serverless, or that of the
//! workload itself.

use connector_core::Error;
use serde_json::{Map, Value, json};

use super::flyte_task::FlyteTask;
use crate::task::json;

/// The key of the environment that is added when the user names none.
const DEFAULT_ENVIRONMENT_KEY: &str = "default";

/// The version of the environment that is added: Python 3.11, which Flyte's runtime supports.
const DEFAULT_ENVIRONMENT_VERSION: &str = "2";

/// The kind of compute that the user chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compute {
    /// `new_cluster`: created for this run.
    NewCluster,
    /// `existing_cluster_id`.
    ExistingCluster,
    Serverless,
    /// The workload names or needs none: a SQL warehouse, a pipeline, another job.
    OfWorkload,
}

impl Compute {
    /// Decides which compute the user's keys mean, and removes empty ones.
    ///
    /// Serverless is chosen by `serverless: true`, `environment_key`, `environments` or `compute`.
    ///
    /// # Errors
    ///
    /// `InvalidTask` for more than one kind, for none when the workload needs one, or for a field of the wrong type.
    pub(crate) fn choose(
        run: &mut Map<String, Value>,
        task: &mut Map<String, Value>,
        is_needed: bool,
    ) -> Result<Self, Error> {
        let serverless = match run.remove("serverless") {
            None | Some(Value::Null) => None,
            Some(Value::Bool(flag)) => Some(flag),
            Some(other) => return Err(json::wrong_type("serverless", "a boolean", &other)),
        };
        let new_cluster = json::take_set(task, "new_cluster");
        let existing = json::take_set(task, "existing_cluster_id");
        if serverless == Some(true) && (new_cluster.is_some() || existing.is_some()) {
            return Err(Error::invalid_task(
                "the task asks for serverless compute and names a cluster",
            )
            .with_hint("keep one of them in `databricks_conf`"));
        }
        let has_environment = json::has(task, "environment_key")
            || json::has(task, "compute")
            || json::has(run, "environments");
        match (new_cluster, existing) {
            (Some(_), Some(_)) => Err(Error::invalid_task(
                "the task names both `new_cluster` and `existing_cluster_id`",
            )
            .with_hint("keep one of them in `databricks_conf`")),
            (Some(cluster @ Value::Object(_)), None) => {
                task.insert("new_cluster".to_owned(), cluster);
                Ok(Self::NewCluster)
            }
            (Some(other), None) => Err(json::wrong_type("new_cluster", "an object", &other)),
            (None, Some(id @ Value::String(_))) => {
                task.insert("existing_cluster_id".to_owned(), id);
                Ok(Self::ExistingCluster)
            }
            (None, Some(other)) => {
                Err(json::wrong_type("existing_cluster_id", "a string", &other))
            }
            (None, None) if serverless.unwrap_or(has_environment) => Ok(Self::Serverless),
            (None, None) if !is_needed => Ok(Self::OfWorkload),
            (None, None) => Err(Error::invalid_task("the task names no compute").with_hint(
                "add `new_cluster` or `existing_cluster_id` to `databricks_conf`, or `serverless: true`",
            )),
        }
    }

    /// True if the compute itself sets the task's environment variables.
    pub(crate) fn carries_environment(self) -> bool {
        self == Self::NewCluster
    }
}

/// Adds the Spark settings and the environment variables to the task's new cluster, and the image of a Flyte function:
/// what the user wrote instead may run where no image is accepted. The user's own values for the cluster win, except
/// that the container's variables win as in the Python plugin (flyte-contract.md#python-requests).
///
/// # Errors
///
/// `InvalidTask` when a field has the wrong type.
pub(crate) fn complete_cluster(
    task: &mut Map<String, Value>,
    mut spark_conf: Map<String, Value>,
    flyte: &FlyteTask,
    is_flyte_function: bool,
) -> Result<(), Error> {
    let Some(cluster) = task.get_mut("new_cluster").and_then(Value::as_object_mut) else {
        return Ok(());
    };
    let of_function = flyte.container.image.as_deref().filter(|_| is_flyte_function);
    if let Some(image) = docker_image(cluster.remove("docker_image"), of_function) {
        cluster.insert("docker_image".to_owned(), image);
    }
    spark_conf.extend(json::text_map(cluster.remove("spark_conf"), "new_cluster.spark_conf")?);
    let mut variables =
        json::text_map(cluster.remove("spark_env_vars"), "new_cluster.spark_env_vars")?;
    for (name, value) in &flyte.environment {
        if flyte.container.environment.contains_key(name) || !variables.contains_key(name) {
            variables.insert(name.clone(), Value::String(value.clone()));
        }
    }
    for (key, map) in [("spark_conf", spark_conf), ("spark_env_vars", variables)] {
        if !map.is_empty() {
            cluster.insert(key.to_owned(), Value::Object(map));
        }
    }
    Ok(())
}

/// Returns the image of a new cluster: the user's, else the function's. `{}` counts as not given; a null means no image,
/// for workspaces that accept none. The user's login without an image is for the function's.
fn docker_image(users_image: Option<Value>, of_function: Option<&str>) -> Option<Value> {
    match (users_image, of_function) {
        (Some(Value::Null), _) => None,
        (Some(Value::Object(mut users)), Some(image)) => {
            if !json::has(&users, "url") {
                users.insert("url".to_owned(), Value::String(image.to_owned()));
            }
            Some(Value::Object(users))
        }
        (Some(users), _) => Some(users).filter(json::is_set),
        (None, image) => image.map(|image| json!({ "url": image })),
    }
}

/// Gives a serverless task its environment: the user's, else one with these dependencies
/// (databricks-api.md#further-facts).
///
/// # Errors
///
/// `InvalidTask` when a field has the wrong type.
pub(crate) fn add_serverless_environment(
    run: &mut Map<String, Value>,
    task: &mut Map<String, Value>,
    dependencies: &[String],
) -> Result<(), Error> {
    let mut environments = match run.remove("environments") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(environments)) => environments,
        Some(other) => return Err(json::wrong_type("environments", "a list", &other)),
    };
    let key_of = |environment: &Value| {
        environment.get("environment_key").and_then(Value::as_str).map(str::to_owned)
    };
    let key = json::optional_text(task.remove("environment_key"), "environment_key")?
        .or_else(|| environments.first().and_then(key_of))
        .unwrap_or_else(|| DEFAULT_ENVIRONMENT_KEY.to_owned());
    if !environments.iter().any(|environment| key_of(environment).as_ref() == Some(&key)) {
        environments.push(json!({
            "environment_key": key,
            "spec": {
                "environment_version": DEFAULT_ENVIRONMENT_VERSION,
                "dependencies": dependencies,
            },
        }));
    }
    task.insert("environment_key".to_owned(), Value::String(key));
    run.insert("environments".to_owned(), Value::Array(environments));
    Ok(())
}
