//! The outputs that a task declares although its workload is not a Flyte function.
//!
//! A task declares them in its interface; they are stored in the resource meta when the run is created. When the run has
//! succeeded, [`read`] fills them from the result of its last task.

mod literals;
pub(crate) mod read;
mod task_result;

use std::collections::BTreeMap;

use connector_core::{CreateContext, Error, literal, literal::ValueType};

/// The maximum number of declared outputs. The resource meta contains them.
const MAX_OUTPUTS: usize = 100;

/// The maximum total length of their names, in bytes.
const MAX_NAME_BYTES: usize = 10_000;

/// Declared outputs by name.
pub(crate) type DeclaredOutputs = BTreeMap<String, ValueType>;

/// Returns the outputs that the task of a request declares.
///
/// # Errors
///
/// `InvalidTask` if there are too many.
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
    Ok(declared)
}

#[cfg(test)]
mod tests {
    use flyteidl2::core::{TypedInterface, Variable, VariableEntry, VariableMap};

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
}
