//! What the user wrote: the task's `custom` section.
//!
//! How this becomes a run of Databricks belongs in `create`.

pub(crate) mod integers;
pub(crate) mod json;

use connector_core::{CreateContext, Error};
use serde_json::{Map, Value};

/// The `custom` section of a Databricks task, as the Python plugin writes it (flyte-contract.md#task-side).
#[derive(Debug, Clone, Default)]
pub(crate) struct DatabricksTask {
    /// `databricksConf`: the body of a run submission, possibly incomplete.
    pub(crate) conf: Map<String, Value>,
    /// `output_task` in the configuration: the key of the task whose result is the output. It is never sent.
    pub(crate) output_task: Option<String>,
    /// `databricksInstance`: the workspace, when the task names one.
    pub(crate) instance: Option<String>,
    /// `databricksTokenSecret`: the Secret in the task's namespace that holds its credential, when the task names one.
    pub(crate) token_secret: Option<String>,
    spark_conf: Map<String, Value>,
    hadoop_conf: Map<String, Value>,
}

impl DatabricksTask {
    /// Reads the task of a request.
    ///
    /// # Errors
    ///
    /// `InvalidTask` that names what to add or change.
    pub(crate) fn parse(cx: &CreateContext) -> Result<Self, Error> {
        let mut custom = cx.custom()?;
        let mut conf = match custom.remove("databricksConf") {
            None | Some(Value::Null) => {
                return Err(Error::invalid_task(
                    "the task has no Databricks job configuration (`databricksConf`)",
                )
                .with_hint("set `databricks_conf` in the task's Databricks plugin configuration"));
            }
            Some(value) => json::object(value, "databricksConf")?,
        };
        // The v1 plugin took these beside the configuration (flyte-contract.md#connector-v1).
        for key in ["notebookPath", "notebookBaseParameters"] {
            if let Some(value) = json::take_set(&mut custom, key) {
                conf.entry(key).or_insert(value);
            }
        }
        let output_task = json::optional_text(conf.remove("output_task"), "output_task")?;
        Ok(Self {
            conf,
            output_task,
            instance: json::optional_text(
                custom.remove("databricksInstance"),
                "databricksInstance",
            )?,
            token_secret: json::optional_text(
                custom.remove("databricksTokenSecret"),
                "databricksTokenSecret",
            )?,
            spark_conf: json::optional_object(custom.remove("sparkConf"), "sparkConf")?,
            hadoop_conf: json::optional_object(custom.remove("hadoopConf"), "hadoopConf")?,
        })
    }

    /// Returns `sparkConf` laid over `hadoopConf`, whose keys get the prefix `spark.hadoop.`.
    ///
    /// # Errors
    ///
    /// `InvalidTask` for a value that is not a scalar.
    pub(crate) fn spark_conf(&self) -> Result<Map<String, Value>, Error> {
        let text = |map: &Map<String, Value>, field| {
            json::text_map(Some(Value::Object(map.clone())), field)
        };
        let hadoop = text(&self.hadoop_conf, "hadoopConf")?.into_iter();
        let mut merged: Map<String, Value> =
            hadoop.map(|(key, value)| (format!("spark.hadoop.{key}"), value)).collect();
        merged.extend(text(&self.spark_conf, "sparkConf")?);
        Ok(merged)
    }
}
