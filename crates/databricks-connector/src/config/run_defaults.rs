//! What the operator gives every run that does not say otherwise.

use std::{error::Error as StdError, fmt, str::FromStr};

use serde_json::{Map, Value};

use crate::task::json::{is_given, type_name};

/// What a value has to be.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Text,
    Object,
    Objects,
    /// `{"enabled": bool}`.
    Switch,
}

/// One key of a run (DA §1.1).
#[derive(Debug, Clone, Copy)]
struct Setting {
    key: &'static str,
    shape: Shape,
    /// Whether `run-now` takes it too; whatever else a saved job has is the job's own (DA §1.7).
    of_jobs: bool,
}

const fn setting(key: &'static str, shape: Shape) -> Setting {
    Setting { key, shape, of_jobs: false }
}

/// The keys that say who pays for a run, who may see it, and who hears of it. What a run does is the task's own affair.
const SETTINGS: [Setting; 11] = [
    setting("access_control_list", Shape::Objects),
    setting("budget_policy_id", Shape::Text),
    setting("email_notifications", Shape::Object),
    setting("health", Shape::Object),
    setting("notification_settings", Shape::Object),
    Setting { key: "performance_target", shape: Shape::Text, of_jobs: true },
    Setting { key: "duration_target", shape: Shape::Text, of_jobs: true },
    Setting { key: "queue", shape: Shape::Switch, of_jobs: true },
    setting("run_as", Shape::Object),
    setting("usage_policy_id", Shape::Text),
    setting("webhook_notifications", Shape::Object),
];

/// Run-level keys of the Jobs API with the operator's values, such as `access_control_list` or `queue`. A task that
/// gives such a key itself keeps its own value, whole.
///
/// ```
/// use databricks_connector::RunDefaults;
///
/// let defaults: RunDefaults = r#"{"queue": {"enabled": true}, "budget_policy_id": "b-1"}"#.parse()?;
/// let refused = r#"{"queue": true}"#.parse::<RunDefaults>().unwrap_err();
/// assert_eq!(refused.to_string(), "`queue` must be an object, but is a boolean");
/// # Ok::<(), databricks_connector::RunDefaultsError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunDefaults(Map<String, Value>);

/// What is wrong with a text that should hold [`RunDefaults`]. It names the place, never a value.
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

    /// Reads a JSON object.
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
                    "`{key}` cannot be given to every run; what can is {known}"
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
    /// Adds to a submitted run what its task did not give.
    pub(crate) fn complete_run(&self, body: &mut Map<String, Value>) {
        self.complete(body, |_setting| true);
    }

    /// The same for a run of a saved job, which takes fewer keys.
    pub(crate) fn complete_job_run(&self, body: &mut Map<String, Value>) {
        self.complete(body, |setting| setting.of_jobs);
    }

    fn complete(&self, body: &mut Map<String, Value>, takes: impl Fn(&Setting) -> bool) {
        // Both name the one policy that pays; the task's choice of it is not to be mixed with the operator's.
        let policies = ["budget_policy_id", "usage_policy_id"];
        let has_policy = policies.iter().any(|key| body.get(*key).is_some_and(is_given));
        for setting in SETTINGS.iter().filter(|setting| takes(setting)) {
            let key = setting.key;
            let is_taken = body.get(key).is_some_and(|value| !value.is_null())
                || (has_policy && policies.contains(&key));
            if let Some(value) = self.0.get(key).filter(|_| !is_taken) {
                body.insert(key.to_owned(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<RunDefaults>().unwrap_err().to_string()
    }

    fn completed(defaults: &Value, body: &Value) -> Value {
        let defaults: RunDefaults = defaults.to_string().parse().unwrap();
        let mut body = body.as_object().unwrap().clone();
        defaults.complete_run(&mut body);
        Value::Object(body)
    }

    #[test]
    fn what_cannot_be_used_is_told_with_its_place() {
        for (text, told) in [
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
            assert_eq!(refused(text), told, "{text}");
        }
        let told = refused(r#"{"tasks": []}"#);
        assert!(told.starts_with("`tasks` cannot be given to every run; what can is access_"));
    }

    #[test]
    fn a_value_of_the_task_is_kept_whole_and_null_counts_as_none() {
        let defaults = json!({"queue": {"enabled": true}, "run_as": {"group_name": "etl"}});
        assert_eq!(
            completed(&defaults, &json!({"queue": {"enabled": false}, "run_as": null})),
            json!({"queue": {"enabled": false}, "run_as": {"group_name": "etl"}})
        );
        // An empty list says that nobody else may see the run.
        let shared = json!({"access_control_list": [{"group_name": "all"}]});
        let private = json!({"access_control_list": []});
        assert_eq!(completed(&shared, &private), private);
    }

    #[test]
    fn the_tasks_policy_is_not_mixed_with_the_operators() {
        let defaults = json!({"budget_policy_id": "ours"});
        let own = json!({"usage_policy_id": "theirs"});
        assert_eq!(completed(&defaults, &own), own);
    }
}
