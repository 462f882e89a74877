//! Values of the template variables in arguments, such as `{{.runName}}`. Module `arguments`
//! replaces them.

use std::collections::BTreeMap;

use flyteidl2::task::Inputs;

use super::{
    digest::{length_prefixed, sha256_hex},
    input_variables,
};
use crate::task::execution::Execution;

/// Values of template variables by name. Names are in lower case, except those of inputs: `inputs.<name as declared>`.
pub(crate) type Variables = BTreeMap<String, String>;

/// Hexadecimal characters of the key that is unique to an attempt.
const UNIQUE_KEY_LENGTH: usize = 24;

/// Returns the variables that the executor never renders (flyte-contract.md#createtask).
pub(crate) fn of_container(execution: &Execution) -> Variables {
    [("runname", &execution.run), ("actionname", &execution.action)]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect()
}

/// Returns the variables of a pod template, which the executor does not render at all (flyte-contract.md#createtask).
/// `input` names the file that `pod_template_inputs` writes.
pub(crate) fn of_pod_template(execution: &Execution, inputs: &Inputs) -> Variables {
    let prefix = execution.output_prefix.trim_end_matches('/');
    let mut variables = of_container(execution);
    let mut insert = |name: &str, value: String| variables.insert(name.to_owned(), value);
    if !prefix.is_empty() {
        // The raw data of an attempt is in its output folder (flyte-contract.md#task-execution-metadata).
        for name in ["outputprefix", "rawoutputdataprefix", "inputprefix"] {
            insert(name, prefix.to_owned());
        }
        insert("input", task_storage::inputs_url(prefix));
        insert("checkpointoutputprefix", format!("{prefix}/_flytecheckpoints"));
        insert("prevcheckpointprefix", previous_checkpoint(execution, prefix));
    }
    // No request contains it, and the SDK writes it into the arguments of every function. The runtime takes the current
    // time when the variable stays unrendered.
    insert("runstarttime", "1970-01-01T00:00:00Z".to_owned());
    insert("perretryuniquekey", unique_key(execution, prefix));
    if !execution.namespace.is_empty() {
        insert("namespace", execution.namespace.clone());
    }
    variables.extend(input_variables::variables(inputs));
    variables
}

/// Returns a name that is unique to this attempt, for objects that it creates, such as a table. It
/// consists of letters and digits, and begins with a letter.
fn unique_key(execution: &Execution, prefix: &str) -> String {
    let mut digest = sha256_hex(&length_prefixed(&[
        &execution.org,
        &execution.project,
        &execution.domain,
        &execution.run,
        &execution.action,
        &execution.retry_attempt.to_string(),
        prefix,
    ]));
    digest.truncate(UNIQUE_KEY_LENGTH);
    format!("f{digest}")
}

/// Returns the checkpoint folder of the previous attempt, or two quotes for the first attempt, as the executor writes it
/// (flyte-contract.md#createtask).
fn previous_checkpoint(execution: &Execution, prefix: &str) -> String {
    match prefix.rsplit_once('/') {
        // The folders of attempts count from 1.
        Some((action, _)) if execution.retry_attempt > 0 => {
            format!("{action}/{}/_flytecheckpoints", execution.retry_attempt)
        }
        _ => "\"\"".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_key_is_a_valid_name_and_differs_between_attempts() {
        let first = Execution { run: "r".to_owned(), ..Execution::default() };
        let second = Execution { retry_attempt: 1, ..first.clone() };
        let key = unique_key(&first, "s3://b/x");
        assert_eq!(key, unique_key(&first, "s3://b/x"));
        assert_ne!(key, unique_key(&second, "s3://b/x"));
        assert_ne!(key, unique_key(&first, "s3://b/y"));
        assert!(
            key.starts_with('f') && key.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{key}"
        );
    }
}
