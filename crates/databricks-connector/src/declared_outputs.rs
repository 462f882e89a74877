//! The outputs that a task declares although its workload is not a Flyte function.
//!
//! A task declares them in its interface; they are stored in the resource meta when the run is created. When the run has
//! succeeded, [`read`] fills them from the result of its last task.

mod literals;
pub(crate) mod read;
mod task_result;

use std::collections::{BTreeMap, BTreeSet};

use connector_core::{CreateContext, Error, literal, literal::ValueType};
use serde_json::Value;

/// The maximum number of declared outputs. The resource meta contains them.
const MAX_OUTPUTS: usize = 100;

/// The maximum total length of their names, in bytes.
const MAX_NAME_BYTES: usize = 10_000;

/// Task types whose runs return nothing: `runs/get-output` has no result of theirs (databricks-api.md#runs-get-output).
const WITHOUT_RESULT: [&str; 10] = [
    "condition_task",
    "dbt_cloud_task",
    "dbt_platform_task",
    "dbt_task",
    "for_each_task",
    "pipeline_task",
    "power_bi_task",
    "python_wheel_task",
    "spark_jar_task",
    "spark_submit_task",
];

/// Declared outputs by name.
pub(crate) type DeclaredOutputs = BTreeMap<String, ValueType>;

/// Returns the outputs that the task of a request declares.
///
/// # Errors
///
/// `InvalidTask` if there are too many, or if one has a type that no result can fill.
pub(crate) fn from_request(cx: &CreateContext) -> Result<DeclaredOutputs, Error> {
    let interface = cx.template.interface.as_ref();
    let declared = interface
        .and_then(|interface| interface.outputs.as_ref())
        .map(literal::declared)
        .unwrap_or_default();
    if declared.len() > MAX_OUTPUTS {
        return Err(Error::invalid_task(format!(
            "the task declares {} outputs; the limit for a workload that is not a Flyte function is {MAX_OUTPUTS}",
            declared.len()
        )));
    }
    let size: usize = declared.keys().map(String::len).sum();
    if size > MAX_NAME_BYTES {
        return Err(Error::invalid_task(format!(
            "the names of the task's outputs have {size} bytes; the limit for a workload that is not a Flyte function is \
             {MAX_NAME_BYTES}"
        )));
    }
    if let Some((name, _)) = declared.iter().find(|(_, declared)| **declared == ValueType::Other) {
        return Err(Error::invalid_task(format!(
            "the output `{name}` has a type that the result of a Databricks run cannot fill"
        ))
        .with_hint(
            "declare str, int, float, bool, datetime, dict, or a list, map or Optional of these, or no output, and write \
             other values to storage",
        ));
    }
    Ok(declared)
}

/// Checks that the submitted tasks can fill the declared outputs. `output_task` is the key of the task whose result is the
/// output, if the user names one.
///
/// # Errors
///
/// `InvalidTask` if none of the tasks, or the named one, can return a result.
pub(crate) fn check_tasks(
    declared: &DeclaredOutputs,
    tasks: Option<&Value>,
    output_task: Option<&str>,
) -> Result<(), Error> {
    let tasks = tasks.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let key_of = |task: &Value| task.get("task_key").and_then(Value::as_str).map(str::to_owned);
    if let Some(named) = output_task
        && !tasks.iter().any(|task| key_of(task).as_deref() == Some(named))
    {
        let keys: Vec<String> = tasks.iter().filter_map(key_of).collect();
        return Err(Error::invalid_task(format!(
            "`output_task` names no task of the run: `{named}`"
        ))
        .with_hint(format!("the tasks are `{}`", keys.join("`, `"))));
    }
    let candidates = tasks
        .iter()
        .filter(|task| output_task.is_none_or(|named| key_of(task).as_deref() == Some(named)));
    let types: Vec<&str> = candidates.filter_map(task_type).collect();
    let is_fillable = types.is_empty()
        || types.iter().any(|task_type| !returns_nothing(task_type))
        || declared.values().all(ValueType::is_optional);
    if is_fillable {
        return Ok(());
    }
    let names: Vec<&str> = declared.keys().map(String::as_str).collect();
    let types: BTreeSet<&str> = types.into_iter().collect();
    let types: Vec<&str> = types.into_iter().collect();
    Err(Error::invalid_task(format!(
        "the task declares the output `{}`, but a `{}` returns nothing",
        names.join("`, `"),
        types.join("` or `")
    ))
    .with_hint(
        "declare no output and write results to storage, or add a notebook or SQL task that returns them",
    ))
}

/// Returns the task type that a submitted task has.
fn task_type(task: &Value) -> Option<&str> {
    let mut keys = task.as_object()?.iter().filter(|(_, value)| value.is_object());
    keys.find(|(key, _)| key.ends_with("_task")).map(|(key, _)| key.as_str())
}

/// True if runs of tasks of this type return nothing.
fn returns_nothing(task_type: &str) -> bool {
    WITHOUT_RESULT.contains(&task_type)
}

#[cfg(test)]
mod tests {
    use flyteidl2::core::{
        LiteralType, SimpleType, TypedInterface, Variable, VariableEntry, VariableMap, literal_type,
    };
    use serde_json::json;

    use super::*;

    #[test]
    fn number_and_size_of_declared_outputs_are_bounded() {
        let declared = |names: &[String]| {
            let integer = literal_type::Type::Simple(SimpleType::Integer.into());
            let integer = LiteralType { r#type: Some(integer), ..LiteralType::default() };
            let variable = Variable { r#type: Some(integer), ..Variable::default() };
            let entry =
                |key: &String| VariableEntry { key: key.clone(), value: Some(variable.clone()) };
            let variables = names.iter().map(entry).collect();
            let mut cx = crate::fixtures::create_context("40_executor_first_attempt");
            cx.template.interface = Some(TypedInterface {
                outputs: Some(VariableMap { variables }),
                ..TypedInterface::default()
            });
            from_request(&cx).map(|declared| declared.len()).map_err(|error| error.to_string())
        };
        let names = |count: usize| (0..count).map(|n| format!("o{n}")).collect::<Vec<_>>();
        assert_eq!(declared(&names(100)), Ok(100));
        assert!(declared(&names(101)).unwrap_err().contains("declares 101 outputs"));
        assert!(declared(&["x".repeat(10_001)]).unwrap_err().contains("have 10001 bytes"));
    }

    #[test]
    fn work_that_returns_nothing_cannot_fill_outputs() {
        let integer: DeclaredOutputs = [("o0".to_owned(), ValueType::Integer)].into();
        let optional = ValueType::Optional(Box::new(ValueType::Integer));
        let optional: DeclaredOutputs = [("o0".to_owned(), optional)].into();
        let wheel = json!({"task_key": "w", "python_wheel_task": {}});
        let notebook = json!({"task_key": "n", "notebook_task": {}});
        let unknown = json!({"task_key": "u", "quantum_task": {}});
        for (declared, tasks, named, words) in [
            (&integer, json!([wheel]), None, Some("a `python_wheel_task` returns nothing")),
            (&integer, json!([wheel, notebook]), Some("w"), Some("returns nothing")),
            (&integer, json!([wheel, notebook]), Some("x"), Some("names no task of the run")),
            (&integer, json!([wheel, notebook]), None, None),
            (&integer, json!([wheel, notebook]), Some("n"), None),
            (&integer, json!([unknown]), None, None),
            (&integer, json!(null), None, None),
            (&optional, json!([wheel]), None, None),
            (&DeclaredOutputs::new(), json!([wheel]), None, None),
        ] {
            let checked = check_tasks(declared, Some(&tasks), named).map_err(|e| e.to_string());
            match words {
                None => assert_eq!(checked, Ok(()), "{tasks} {named:?}"),
                Some(words) => assert!(checked.unwrap_err().contains(words), "{tasks} {named:?}"),
            }
        }
    }
}
