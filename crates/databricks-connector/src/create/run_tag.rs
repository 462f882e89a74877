//! The run tag ([`RunTag`]) in the fields of Databricks: a run's name, or the description of its first task. Pure.
//!
//! Orphans are found by it (`crate::delete::orphans`).

use connector_core::attempt::RunTag;
use databricks_client::jobs::Run;
use serde_json::{Map, Value};

use crate::task::json;

/// Writes the tag into the description of a task that has none.
pub(crate) fn write_description(run_tag: &RunTag, task: &mut Map<String, Value>) {
    if !json::has(task, "description") {
        task.insert("description".to_owned(), Value::String(run_tag.to_string()));
    }
}

/// True if the run is for the same action, and for the same or an earlier attempt ([`RunTag::covers`]).
pub(crate) fn is_same_or_earlier_attempt(run_tag: &RunTag, run: &Run) -> bool {
    let descriptions = run.tasks.iter().filter_map(|task| task.description.as_deref());
    let texts = run.run_name.as_deref().into_iter().chain(descriptions);
    texts.filter_map(RunTag::find).any(|found| run_tag.covers(&found))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(value: Value) -> Run {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn run_is_found_by_name_or_by_task_description() {
        let [first, second, third] = [1, 2, 3]
            .map(|attempt| RunTag::find(&format!("[flyte:fedcba9876543210:{attempt}]")).unwrap());
        let named = |tag: &RunTag| run(json!({"run_name": format!("flyte t (p/d/r/a0) {tag}")}));
        assert!(is_same_or_earlier_attempt(&second, &named(&first)));
        assert!(is_same_or_earlier_attempt(&second, &named(&second)));
        assert!(!is_same_or_earlier_attempt(&second, &named(&third)));
        let described = run(
            json!({"run_name": "nightly", "tasks": [{"task_key": "t", "description": first.to_string()}]}),
        );
        assert!(is_same_or_earlier_attempt(&second, &described));
        for strange in ["", "[flyte:", "[flyte:x]", "[flyte:x:y]", "[flyte:0123456789abcdef:1]"] {
            assert!(
                !is_same_or_earlier_attempt(&second, &run(json!({ "run_name": strange }))),
                "{strange}"
            );
        }
    }
}
