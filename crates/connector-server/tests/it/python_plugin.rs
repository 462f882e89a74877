//! Compares the submission snapshots with those of the Python plugin (`fixtures/python_plugin`) for the same captured requests.
//!
//! Accepted differences: task-level keys are in `tasks[0]`, numbers are integers, and the arguments are completed.

use std::path::Path;

use serde_json::Value;

/// Intended differences: request and key.
///
/// The user's own entrypoint and idempotency token are kept. On an existing cluster the connector passes environment
/// variables through its own script; the plugin drops them.
const INTENDED: &[(&str, &str)] = &[
    ("02_existing_cluster", "git_source"),
    ("02_existing_cluster", "spark_python_task"),
    ("10_own_git_source", "git_source"),
    ("10_own_git_source", "idempotency_token"),
    ("10_own_git_source", "python_file"),
    ("10_own_git_source", "spark_python_task"),
];

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    // Skips the header of a snapshot.
    let text = text.split_once("\n---\n").map_or(text.as_str(), |(_, body)| body);
    serde_json::from_str(text).unwrap()
}

/// Returns the path of the first value of `theirs` that is missing or different in `ours`.
fn missing(theirs: &Value, ours: &Value, path: &str) -> Option<String> {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => theirs.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            ours.get(key).map_or_else(|| Some(path.clone()), |own| missing(value, own, &path))
        }),
        (Value::Array(theirs), Value::Array(_)) if path.ends_with(".parameters") => {
            let mut own = ours.as_array().unwrap().iter();
            let first = theirs.iter().find(|theirs| {
                let rendered = theirs.as_str().is_some_and(|text| text.starts_with("{{."));
                !own.any(|own| {
                    own == *theirs || (rendered && !own.as_str().unwrap().contains("{{"))
                })
            });
            first.map(|theirs| format!("{path}: {theirs}"))
        }
        (Value::Number(theirs), Value::Number(own)) => {
            let same = theirs.as_f64() == own.as_f64();
            let integer = theirs.as_f64().unwrap().fract() != 0.0 || own.is_i64();
            (!same || !integer).then(|| path.to_owned())
        }
        _ => (theirs != ours).then(|| path.to_owned()),
    }
}

#[test]
fn submissions_contain_everything_the_python_plugin_sends() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compared = 0;
    for entry in std::fs::read_dir(root.join("../../fixtures/python_plugin")).unwrap() {
        let path = entry.unwrap().path();
        let name =
            path.file_name().unwrap().to_str().unwrap().strip_suffix(".submit.json").unwrap();
        let theirs = read(&path);
        let ours = read(&root.join(format!("tests/it/snapshots/it__databricks__{name}.snap")));
        for (key, value) in theirs.as_object().unwrap() {
            if INTENDED.contains(&(name, key)) {
                continue;
            }
            let own = ours.get(key).or_else(|| ours["tasks"][0].get(key));
            let own = own.unwrap_or_else(|| panic!("{name}: {key} is missing"));
            assert_eq!(missing(value, own, key), None, "{name}");
            compared += 1;
        }
    }
    assert!(compared > 30, "only {compared} keys were compared");
}
