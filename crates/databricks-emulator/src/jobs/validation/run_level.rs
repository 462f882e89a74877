//! Rules for the fields of a run beyond their types (databricks-api.md#runs-submit).

use super::present;
use crate::api::error::{ApiError, invalid, reject};
use serde_json::{Map, Value};

/// The fields that name a principal.
const PRINCIPALS: [&str; 3] = ["user_name", "group_name", "service_principal_name"];

/// Limits of `environment_variables`.
const MAX_VARIABLES: usize = 20;
const MAX_NAME_CHARS: usize = 256;
const MAX_VALUE_CHARS: usize = 512;

/// Checks a body whose fields have valid types.
pub(super) fn check(body: &Map<String, Value>) -> Result<(), ApiError> {
    for (n, entry) in objects(body, "access_control_list").enumerate() {
        check_principal(entry, &format!("access_control_list[{n}]"))?;
    }
    if let Some(Value::Object(run_as)) = present(body, "run_as") {
        check_principal(run_as, "run_as")?;
    }
    for environment in objects(body, "environments") {
        if let Some(Value::Object(spec)) = present(environment, "spec") {
            check_spec(spec)?;
        }
    }
    for set in objects(body, "environment_variables") {
        let spec = present(set, "spec").and_then(Value::as_object);
        if let Some(Value::Object(variables)) = spec.and_then(|spec| present(spec, "variables")) {
            check_variables(variables)?;
        }
    }
    Ok(())
}

fn objects<'a>(
    body: &'a Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = &'a Map<String, Value>> {
    present(body, key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

fn check_principal(entry: &Map<String, Value>, path: &str) -> Result<(), ApiError> {
    let given = PRINCIPALS.iter().filter(|key| present(entry, key).is_some()).count();
    if given == 1 {
        return Ok(());
    }
    let fields = PRINCIPALS.join(", ");
    reject!("{path} names {given} principals; give exactly one of {fields}.")
}

fn check_spec(spec: &Map<String, Value>) -> Result<(), ApiError> {
    let given = |key: &str| present(spec, key).is_some();
    if given("project_environment") && spec.values().filter(|value| !value.is_null()).count() > 1 {
        return Err(invalid("project_environment excludes every other key of an environment."));
    }
    if given("base_environment") && (given("environment_version") || given("client")) {
        return Err(invalid(
            "An environment takes environment_version or base_environment, not both.",
        ));
    }
    Ok(())
}

fn check_variables(variables: &Map<String, Value>) -> Result<(), ApiError> {
    if variables.len() > MAX_VARIABLES {
        let count = variables.len();
        return reject!("{count} variables; at most {MAX_VARIABLES} are allowed.");
    }
    for (name, value) in variables {
        let mut characters = name.chars();
        let valid_start =
            characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
        let valid_rest =
            characters.all(|character| character.is_ascii_alphanumeric() || character == '_');
        if !valid_start || !valid_rest || name.len() > MAX_NAME_CHARS {
            return reject!("'{name}' is not a valid variable name.");
        }
        let length = value.as_str().map_or(0, |value| value.chars().count());
        if length > MAX_VALUE_CHARS {
            return reject!(
                "The variable {name} has {length} characters; at most {MAX_VALUE_CHARS} are allowed."
            );
        }
    }
    Ok(())
}
