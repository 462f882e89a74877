//! The outputs that a task declares although its workload is not a Flyte function.
//!
//! A task declares them in its interface; they are stored in the resource meta when the run is created. When the run has
//! succeeded, [`read`] fills them from the result of its last task.

mod literals;
pub(crate) mod read;
mod task_result;

use std::collections::BTreeMap;

use connector_core::{CreateContext, Error};
use flyteidl2::core::{LiteralType, SimpleType, TypedInterface, literal_type};
use serde::{Deserialize, Serialize};

/// The maximum number of declared outputs. The resource meta contains them.
const MAX_OUTPUTS: usize = 100;

/// The maximum total length of their names, in bytes.
const MAX_NAME_BYTES: usize = 10_000;

/// Declared outputs by name.
pub(crate) type DeclaredOutputs = BTreeMap<String, OutputType>;

/// The types that the result of a task can be converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OutputType {
    String,
    Integer,
    Float,
    Boolean,
    /// A JSON object.
    Struct,
    /// Any other type; it cannot be filled.
    #[serde(other)]
    Other,
}

/// Returns the outputs that the task of a request declares.
///
/// # Errors
///
/// `InvalidTask` if there are too many.
pub(crate) fn from_request(cx: &CreateContext) -> Result<DeclaredOutputs, Error> {
    let declared = cx.template.interface.as_ref().map(from_interface).unwrap_or_default();
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
    Ok(declared)
}

fn from_interface(interface: &TypedInterface) -> DeclaredOutputs {
    let variables =
        interface.outputs.as_ref().map(|outputs| outputs.variables.as_slice()).unwrap_or_default();
    variables
        .iter()
        .map(|entry| {
            let declared = entry.value.as_ref().and_then(|variable| variable.r#type.as_ref());
            (entry.key.clone(), declared.map_or(OutputType::Other, output_type))
        })
        .collect()
}

fn output_type(declared: &LiteralType) -> OutputType {
    match &declared.r#type {
        Some(literal_type::Type::Simple(simple)) => match SimpleType::try_from(*simple) {
            Ok(SimpleType::String) => OutputType::String,
            Ok(SimpleType::Integer) => OutputType::Integer,
            Ok(SimpleType::Float) => OutputType::Float,
            Ok(SimpleType::Boolean) => OutputType::Boolean,
            Ok(SimpleType::Struct) => OutputType::Struct,
            _ => OutputType::Other,
        },
        _ => OutputType::Other,
    }
}

#[cfg(test)]
mod tests {
    use flyteidl2::core::{Variable, VariableEntry, VariableMap};

    use super::*;

    #[test]
    fn number_and_size_of_declared_outputs_are_bounded() {
        let declared = |names: &[String]| {
            let entry =
                |key: &String| VariableEntry { key: key.clone(), value: Some(Variable::default()) };
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
    fn unknown_type_in_stored_meta_is_read_as_other() {
        let stored: DeclaredOutputs =
            serde_json::from_str(r#"{"a": "integer", "b": "hologram"}"#).unwrap();
        let expected = [("a", OutputType::Integer), ("b", OutputType::Other)];
        assert_eq!(stored, expected.map(|(name, kind)| (name.to_owned(), kind)).into());
    }
}
