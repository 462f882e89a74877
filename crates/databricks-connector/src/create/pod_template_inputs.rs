//! Writes the inputs file that a pod template's arguments name. For plain containers the executor writes it.

use connector_core::{CreateContext, Error, ErrorKind};

use crate::context::Context;

/// Writes the inputs below the task's output prefix.
///
/// # Errors
///
/// `Unavailable` for a transient failure; `FailedPrecondition` for any other.
pub(crate) async fn write(
    context: &Context,
    cx: &CreateContext,
    pod_template: &str,
) -> Result<(), Error> {
    let storage = context.settings.task_storage.as_ref();
    task_storage::write_inputs(storage, &cx.output_prefix, &cx.inputs, cx.deadline).await.map_err(
        |error| {
            let is_transient = error.is_transient();
            let message = format!(
                "the inputs for the pod template `{pod_template}` cannot be written: {error}"
            );
            if is_transient {
                return Error::new(ErrorKind::Unavailable, message);
            }
            Error::failed_precondition(message).with_hint(
                "let the connector write under the task's output prefix, or run the task without a pod template",
            )
        },
    )
}
