//! The values of template variables.

use std::collections::BTreeMap;

use flyteidl2::task::Inputs;

use super::{Lookup, Reference, key_of};
use crate::{CreateContext, attempt::AttemptId, literal};

/// Values of template variables by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    /// `None` for an input whose type has no text.
    texts: BTreeMap<String, Option<String>>,
}

impl Variables {
    /// Returns the variables that Flyte's executor leaves in the arguments of containers: `runName` and `actionName`
    /// (flyte-contract.md#createtask). It has rendered all others.
    pub fn of_attempt(attempt: &AttemptId) -> Self {
        let mut variables = Self::default();
        for (name, value) in [("runName", attempt.run()), ("actionName", attempt.action())] {
            if !value.is_empty() {
                variables.insert(name, value);
            }
        }
        variables
    }

    /// Returns the variables whose values follow from the request, for text that the executor does not render, such as
    /// `custom` and pod templates: those [of the attempt](Self::of_attempt), `inputs.x` for each input, `outputPrefix`,
    /// `rawOutputDataPrefix`, `checkpointOutputPrefix`, `prevCheckpointPrefix`, `perRetryUniqueKey` and `namespace`.
    ///
    /// A variable whose value the request lacks is missing. So are `input` and `inputPrefix`: a connector that writes the
    /// file of the inputs [inserts](Self::insert) them.
    pub fn of_request(cx: &CreateContext) -> Self {
        let attempt = AttemptId::from_request(cx);
        let mut variables = Self::of_attempt(&attempt);
        let prefix = attempt.output_prefix().trim_end_matches('/');
        if !prefix.is_empty() {
            // The raw data of an attempt is in its output folder (flyte-contract.md#task-execution-metadata).
            for name in ["outputPrefix", "rawOutputDataPrefix"] {
                variables.insert(name, prefix);
            }
            variables.insert("checkpointOutputPrefix", format!("{prefix}/_flytecheckpoints"));
            variables.insert("prevCheckpointPrefix", previous_checkpoint(&attempt, prefix));
        }
        variables.insert("perRetryUniqueKey", attempt.unique_key());
        if !cx.execution.namespace.is_empty() {
            variables.insert("namespace", cx.execution.namespace.as_str());
        }
        variables.insert_inputs(&cx.inputs);
        variables
    }

    /// Sets the text of a variable. The name is that of a reference without its braces and its dot, such as `inputs.day`.
    pub fn insert(&mut self, name: &str, text: impl Into<String>) {
        self.texts.insert(key_of(name), Some(text.into()));
    }

    /// Sets `inputs.x` for each input `x` that has a value. Inputs of types without [text](literal::to_text) are
    /// [reported](super::RenderError::without_text) when they are used.
    pub fn insert_inputs(&mut self, inputs: &Inputs) {
        let inputs = inputs.literals.iter().filter_map(|input| {
            Some((format!("inputs.{}", input.name), literal::to_text(input.value.as_ref()?)))
        });
        self.texts.extend(inputs);
    }

    pub(super) fn get(&self, reference: Reference<'_>) -> Lookup<'_> {
        match self.texts.get(&key_of(reference.name())) {
            Some(Some(text)) => Lookup::Text(text),
            Some(None) => Lookup::WithoutText,
            None => Lookup::Missing,
        }
    }
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
