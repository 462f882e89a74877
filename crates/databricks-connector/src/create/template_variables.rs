//! Values of the template variables in arguments, such as `{{.runName}}`. Module `arguments`
//! replaces them.

use std::collections::BTreeMap;

use connector_core::{CreateContext, attempt::AttemptId};

use super::input_variables;

/// Values of template variables by name. Names are in lower case, except those of inputs: `inputs.<name as declared>`.
pub(crate) type Variables = BTreeMap<String, String>;

/// Returns the variables that the executor never renders (flyte-contract.md#createtask).
pub(crate) fn of_container(attempt: &AttemptId) -> Variables {
    [("runname", attempt.run()), ("actionname", attempt.action())]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Returns the variables of a pod template, which the executor does not render at all (flyte-contract.md#createtask).
/// `input` names the file that `pod_template_inputs` writes.
pub(crate) fn of_pod_template(attempt: &AttemptId, cx: &CreateContext) -> Variables {
    let prefix = attempt.output_prefix().trim_end_matches('/');
    let mut variables = of_container(attempt);
    let mut insert = |name: &str, value: String| variables.insert(name.to_owned(), value);
    if !prefix.is_empty() {
        // The raw data of an attempt is in its output folder (flyte-contract.md#task-execution-metadata).
        for name in ["outputprefix", "rawoutputdataprefix", "inputprefix"] {
            insert(name, prefix.to_owned());
        }
        insert("input", task_storage::inputs_url(prefix));
        insert("checkpointoutputprefix", format!("{prefix}/_flytecheckpoints"));
        insert("prevcheckpointprefix", previous_checkpoint(attempt, prefix));
    }
    // No request contains it, and the SDK writes it into the arguments of every function. The runtime takes the current
    // time when the variable stays unrendered.
    insert("runstarttime", "1970-01-01T00:00:00Z".to_owned());
    insert("perretryuniquekey", attempt.unique_key());
    if !cx.execution.namespace.is_empty() {
        insert("namespace", cx.execution.namespace.clone());
    }
    variables.extend(input_variables::variables(&cx.inputs));
    variables
}

/// Returns the checkpoint folder of the previous attempt, or two quotes for the first attempt, as the executor writes it
/// (flyte-contract.md#createtask).
fn previous_checkpoint(attempt: &AttemptId, prefix: &str) -> String {
    match prefix.rsplit_once('/') {
        // The folders of attempts count from 1.
        Some((action, _)) if attempt.retry_attempt() > 0 => {
            format!("{action}/{}/_flytecheckpoints", attempt.retry_attempt())
        }
        _ => "\"\"".to_owned(),
    }
}
