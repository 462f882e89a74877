//! Task templates that the executor rejects without calling a connector (flyte-contract.md#createtask).

use flyteidl2::core::TaskTemplate;
use prost_types::{Struct, value::Kind};
use std::collections::BTreeMap;

/// Returns the error for a template that cannot be launched, or `None` if the executor calls `CreateTask`.
///
/// `labels` are those of the execution; the scope of a secret is derived from them. Open-source Flyte has no secrets for
/// connectors: any entry in `custom.secrets`, even null, fails the attempt (flyte-contract.md#observed-backend).
pub fn launch_error(template: &TaskTemplate, labels: &BTreeMap<String, String>) -> Option<String> {
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

/// Returns the name of the first requested secret. Empty for a null name.
fn first_secret(custom: &Struct) -> Option<&str> {
    let Some(Kind::StructValue(secrets)) = &custom.fields.get("secrets")?.kind else { return None };
    let (_, name) = secrets.fields.first_key_value()?;
    Some(match &name.kind {
        Some(Kind::StringValue(name)) => name,
        _ => "",
    })
}
