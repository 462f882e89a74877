//! What the executor refuses before it calls anybody (FC §1.3).

use flyteidl2::core::TaskTemplate;
use prost_types::{Struct, value::Kind};
use std::collections::BTreeMap;

/// What it says of a template that cannot be launched; `None` when `CreateTask` is called. `labels` are those of the
/// execution: the scope of a secret is made of them.
///
/// Open-source Flyte has no secrets for connectors: one name among `custom.secrets`, be it null, ends the attempt
/// (FC §8.2).
pub fn refusal_before_any_call(
    template: &TaskTemplate,
    labels: &BTreeMap<String, String>,
) -> Option<String> {
    let Some(custom) = &template.custom else {
        return Some(
            "failed to unmarshal connection from task template custom: nil Struct Object passed"
                .to_owned(),
        );
    };
    let name = first_secret(custom)?;
    let label = |key: &str| labels.get(key).map_or("", String::as_str);
    Some(format!(
        "Failed to get secret value with error: secrets are not supported by the executor's no-op secret manager, \
         cannot resolve \"u__org__{}__domain__{}__project__{}__key__{name}\"",
        label("organization"),
        label("domain"),
        label("project"),
    ))
}

/// The first secret that the task asks for, by its name; empty for a name that is null.
fn first_secret(custom: &Struct) -> Option<&str> {
    let Some(Kind::StructValue(secrets)) = &custom.fields.get("secrets")?.kind else { return None };
    let (_, name) = secrets.fields.first_key_value()?;
    Some(match &name.kind {
        Some(Kind::StringValue(name)) => name,
        _ => "",
    })
}
