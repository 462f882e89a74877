//! Run-level keys that the operator sets for runs that do not set them.

use std::{error::Error as StdError, fmt, str::FromStr};

use serde_json::{Map, Value};

use crate::task::json::{is_set, type_name};

/// The expected type of a value.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Text,
    Object,
    Objects,
    /// `{"enabled": bool}`.
    Switch,
}

/// One key of a run (databricks-api.md#runs-submit).
#[derive(Debug, Clone, Copy)]
struct Setting {
    key: &'static str,
    shape: Shape,
    /// True if `run-now` accepts it too (databricks-api.md#run-now).
    is_accepted_by_run_now: bool,
}

const fn setting(key: &'static str, shape: Shape) -> Setting {
    Setting { key, shape, is_accepted_by_run_now: false }
}

/// The keys for billing, permissions, notifications and scheduling. What a run does is up to the task.
const SETTINGS: [Setting; 11] = [
    setting("access_control_list", Shape::Objects),
    setting("budget_policy_id", Shape::Text),
    setting("email_notifications", Shape::Object),
    setting("health", Shape::Object),
    setting("notification_settings", Shape::Object),
    Setting { key: "performance_target", shape: Shape::Text, is_accepted_by_run_now: true },
    Setting { key: "duration_target", shape: Shape::Text, is_accepted_by_run_now: true },
    Setting { key: "queue", shape: Shape::Switch, is_accepted_by_run_now: true },
    setting("run_as", Shape::Object),
    setting("usage_policy_id", Shape::Text),
    setting("webhook_notifications", Shape::Object),
];

/// Run-level keys of the Jobs API with the operator's values, such as `access_control_list` or `queue`. A value that a task
/// sets itself is kept unchanged.
///
/// ```
/// use databricks_connector::RunDefaults;
///
/// let defaults: RunDefaults = r#"{"queue": {"enabled": true}, "budget_policy_id": "b-1"}"#.parse()?;
/// let error = r#"{"queue": true}"#.parse::<RunDefaults>().unwrap_err();
/// assert_eq!(error.to_string(), "`queue` must be an object, but is a boolean");
/// # Ok::<(), databricks_connector::RunDefaultsError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunDefaults(Map<String, Value>);

/// Why a text is not [`RunDefaults`]. Contains the place and no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDefaultsError(String);

impl fmt::Display for RunDefaultsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for RunDefaultsError {}

impl FromStr for RunDefaults {
    type Err = RunDefaultsError;

    /// Parses a JSON object.
    fn from_str(text: &str) -> Result<Self, RunDefaultsError> {
        let value: Value = serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            RunDefaultsError(format!("is not JSON: line {line}, column {column}"))
        })?;
        let Value::Object(given) = value else {
            return Err(RunDefaultsError(format!(
                "must be a JSON object, but is {}",
                type_name(&value)
            )));
        };
        for (key, value) in &given {
            let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else {
                let known = SETTINGS.map(|setting| setting.key).join(", ");
                return Err(RunDefaultsError(format!(
                    "`{key}` cannot be set for every run; the possible keys are {known}"
                )));
            };
            check(setting.shape, key, value)?;
        }
        Ok(Self(given))
    }
}

fn check(shape: Shape, path: &str, value: &Value) -> Result<(), RunDefaultsError> {
    let wrong = |path: &str, wanted: &str, value: &Value| {
        let got = type_name(value);
        Err(RunDefaultsError(format!("`{path}` must be {wanted}, but is {got}")))
    };
    match (shape, value) {
        (Shape::Text, Value::String(_)) | (Shape::Object, Value::Object(_)) => Ok(()),
        (Shape::Text, value) => wrong(path, "a string", value),
        (Shape::Switch, Value::Object(object)) => {
            match (object.get("enabled"), object.keys().find(|key| *key != "enabled")) {
                (_, Some(other)) => Err(RunDefaultsError(format!(
                    "`{path}` has a key `{other}`; it takes `enabled` alone"
                ))),
                (Some(Value::Bool(_)), None) => Ok(()),
                (value, None) => {
                    wrong(&format!("{path}.enabled"), "a boolean", value.unwrap_or(&Value::Null))
                }
            }
        }
        (Shape::Objects, Value::Array(items)) => items
            .iter()
            .enumerate()
            .try_for_each(|(n, item)| check(Shape::Object, &format!("{path}[{n}]"), item)),
        (Shape::Objects, value) => wrong(path, "a list", value),
        (Shape::Object | Shape::Switch, value) => wrong(path, "an object", value),
    }
}

impl RunDefaults {
    /// Adds the keys that a submitted run lacks.
    pub(crate) fn complete_run(&self, body: &mut Map<String, Value>) {
        self.complete(body, |_setting| true);
    }

    /// Adds the keys that a run of a saved job lacks and can have.
    pub(crate) fn complete_job_run(&self, body: &mut Map<String, Value>) {
        self.complete(body, |setting| setting.is_accepted_by_run_now);
    }

    fn complete(&self, body: &mut Map<String, Value>, takes: impl Fn(&Setting) -> bool) {
        // Both name the one policy that is billed, so the task's choice excludes the operator's.
        let policies = ["budget_policy_id", "usage_policy_id"];
        let has_policy = policies.iter().any(|key| body.get(*key).is_some_and(is_set));
        for setting in SETTINGS.iter().filter(|setting| takes(setting)) {
            let key = setting.key;
            let is_set = body.get(key).is_some_and(|value| !value.is_null())
                || (has_policy && policies.contains(&key));
            if let Some(value) = self.0.get(key).filter(|_| !is_set) {
                body.insert(key.to_owned(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rejected(text: &str) -> String {
        text.parse::<RunDefaults>().unwrap_err().to_string()
    }

    fn completed(defaults: &Value, body: &Value) -> Value {
        let defaults: RunDefaults = defaults.to_string().parse().unwrap();
        let mut body = body.as_object().unwrap().clone();
        defaults.complete_run(&mut body);
        Value::Object(body)
    }

    #[test]
    fn invalid_value_is_rejected_with_its_place() {
        for (text, message) in [
            ("{", "is not JSON: line 1, column 1"),
            ("[]", "must be a JSON object, but is a list"),
            (
                r#"{"queue": {"enabled": "yes"}}"#,
                "`queue.enabled` must be a boolean, but is a string",
            ),
            (r#"{"queue": {}}"#, "`queue.enabled` must be a boolean, but is null"),
            (
                r#"{"queue": {"enabled": true, "x": 1}}"#,
                "`queue` has a key `x`; it takes `enabled` alone",
            ),
            (
                r#"{"access_control_list": [{}, "me"]}"#,
                "`access_control_list[1]` must be an object, but is a string",
            ),
            (r#"{"run_as": "me"}"#, "`run_as` must be an object, but is a string"),
            (r#"{"budget_policy_id": 7}"#, "`budget_policy_id` must be a string, but is a number"),
        ] {
            assert_eq!(rejected(text), message, "{text}");
        }
        let message = rejected(r#"{"tasks": []}"#);
        assert!(
            message
                .starts_with("`tasks` cannot be set for every run; the possible keys are access_")
        );
    }

    #[test]
    fn value_of_task_is_kept_and_null_counts_as_none() {
        let defaults = json!({"queue": {"enabled": true}, "run_as": {"group_name": "etl"}});
        assert_eq!(
            completed(&defaults, &json!({"queue": {"enabled": false}, "run_as": null})),
            json!({"queue": {"enabled": false}, "run_as": {"group_name": "etl"}})
        );
        // An empty list keeps the run private.
        let shared = json!({"access_control_list": [{"group_name": "all"}]});
        let private = json!({"access_control_list": []});
        assert_eq!(completed(&shared, &private), private);
    }

    #[test]
    fn policy_of_task_excludes_policy_of_operator() {
        let defaults = json!({"budget_policy_id": "ours"});
        let own = json!({"usage_policy_id": "theirs"});
        assert_eq!(completed(&defaults, &own), own);
    }
}
