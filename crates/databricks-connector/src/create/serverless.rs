//! Serverless compute: the environment that a task runs in.

use connector_core::Error;
use serde_json::{Map, Value, json};

use crate::{
    create::{flyte_function::FlyteSide, workload::Work},
    task::json,
};

/// The name of the environment that is added when the user names none.
const DEFAULT_KEY: &str = "default";

/// The version of the environment that is added: Python 3.11, which Flyte's runtime takes.
const DEFAULT_VERSION: &str = "2";

/// Sees to it that the task has the environment that its kind of work needs (DA §1.2, §10.3).
///
/// Python, wheel and dbt work needs one: the user's, else one with Flyte's runtime among its dependencies. Other work,
/// notebooks above all, is given none.
///
/// # Errors
///
/// `InvalidTask` when a field has the wrong type.
pub(crate) fn write(
    run: &mut Map<String, Value>,
    task: &mut Map<String, Value>,
    work: &Work,
    flyte: &FlyteSide<'_>,
) -> Result<(), Error> {
    if !work.needs_environment() {
        return Ok(());
    }
    let mut environments = match run.remove("environments") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(environments)) => environments,
        Some(other) => return Err(json::wrong("environments", "a list", &other)),
    };
    let key_of = |environment: &Value| {
        environment.get("environment_key").and_then(Value::as_str).map(str::to_owned)
    };
    let key = json::optional_text(task.remove("environment_key"), "environment_key")?
        .or_else(|| environments.first().and_then(key_of))
        .unwrap_or_else(|| DEFAULT_KEY.to_owned());
    if !environments.iter().any(|environment| key_of(environment).as_ref() == Some(&key)) {
        environments.push(json!({
            "environment_key": key,
            "spec": { "environment_version": DEFAULT_VERSION, "dependencies": [flyte.runtime_requirement()] },
        }));
    }
    task.insert("environment_key".to_owned(), Value::String(key));
    run.insert("environments".to_owned(), Value::Array(environments));
    Ok(())
}
