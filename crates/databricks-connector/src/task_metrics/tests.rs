//! Responses for runs of every age.

use std::collections::BTreeMap;

use connector_core::{Sample, Series};
use prost::Message as _;
use serde_json::{Value, json};

use super::*;

fn response(run: &Run, now: u64, request: &MetricsRequest) -> Vec<Metric> {
    let requested = requested(&request.names).unwrap();
    let window = Window::new(request).unwrap();
    let query = Query { run, requested: &requested, window, now };
    query.response(Vec::new(), MachineUsage::default()).unwrap()
}

/// Returns the last value of every series by its labels, `attempt=1` omitted.
fn last_values(run: &Value, now: u64, request: &MetricsRequest) -> BTreeMap<String, String> {
    let run: Run = serde_json::from_value(run.clone()).unwrap();
    let metrics = response(&run, now, request);
    let mut values = BTreeMap::new();
    for metric in metrics {
        let short =
            metric.name.trim_start_matches("databricks_").trim_end_matches("_seconds").to_owned();
        for series in metric.series {
            let labels: Vec<String> = series
                .labels
                .into_iter()
                .filter(|label| *label != ("attempt".to_owned(), "1".to_owned()))
                .map(|(name, value)| format!(" {name}={value}"))
                .collect();
            let value = series.samples.last().unwrap().value;
            values.insert(format!("{short}{}", labels.join("")), value.to_string());
        }
    }
    values
}

fn values(expected: &[(&str, f64)]) -> BTreeMap<String, String> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect()
}

/// Queued from 100 s to 110 s, set up until 140 s, executed until 200 s, cleaned up until 205 s.
fn ended() -> Value {
    json!({
        "run_id": 1, "start_time": 100_000, "end_time": 205_000,
        "status": {"state": "TERMINATED", "termination_details": {"code": "SUCCESS"}},
        "queue_duration": 10_000, "run_duration": 105_000,
        "tasks": [{"task_key": "a", "run_id": 2, "attempt_number": 0,
            "status": {"state": "TERMINATED", "termination_details": {"code": "SUCCESS"}},
            "start_time": 100_000, "end_time": 205_000, "queue_duration": 10_000,
            "setup_duration": 30_000, "execution_duration": 60_000, "cleanup_duration": 5_000}],
    })
}

fn until(seconds: u64) -> MetricsRequest {
    MetricsRequest::default().with_range(None, Some(window::time(seconds * 1_000)))
}

#[test]
fn ended_run_has_the_values_of_each_time() {
    const NOW: u64 = 1_000_000;
    assert_eq!(
        last_values(&ended(), NOW, &MetricsRequest::default()),
        values(&[
            ("run_queue_duration", 10.0),
            ("run_duration", 105.0),
            ("run_tasks state=waiting", 0.0),
            ("run_tasks state=preparing", 0.0),
            ("run_tasks state=running", 0.0),
            ("run_tasks state=succeeded", 1.0),
            ("run_tasks state=failed", 0.0),
            ("run_tasks state=skipped", 0.0),
            ("task_attempts task_key=a", 1.0),
            ("task_setup_duration task_key=a", 30.0),
            ("task_execution_duration task_key=a", 60.0),
            ("task_cleanup_duration task_key=a", 5.0),
        ])
    );
    let at_160 = last_values(&ended(), NOW, &until(160));
    assert_eq!(at_160["run_duration"], "60");
    assert_eq!(at_160["task_setup_duration task_key=a"], "30");
    assert_eq!(at_160["task_execution_duration task_key=a"], "20");
    assert_eq!(at_160["run_tasks state=running"], "1");
    assert!(!at_160.contains_key("task_cleanup_duration task_key=a"));
    let at_120 = last_values(&ended(), NOW, &until(120));
    assert_eq!(at_120["run_queue_duration"], "10");
    assert_eq!(at_120["task_setup_duration task_key=a"], "10");
    assert_eq!(at_120["run_tasks state=preparing"], "1");
    let at_105 = last_values(&ended(), NOW, &until(105));
    assert_eq!(at_105["run_queue_duration"], "5");
    assert_eq!(at_105["run_tasks state=waiting"], "1");
    assert!(!at_105.contains_key("task_setup_duration task_key=a"));
    assert_eq!(last_values(&ended(), NOW, &until(99)), BTreeMap::new());
}

#[test]
fn attempt_start_after_the_queue_changes_only_the_queue_duration() {
    let mut run = ended();
    run["tasks"][0]["start_time"] = json!(110_000);
    let at_160 = last_values(&run, 1_000_000, &until(160));
    assert_eq!(at_160["task_execution_duration task_key=a"], "20");
}

#[test]
fn active_run_has_values_up_to_now() {
    let run = json!({
        "run_id": 1, "start_time": 100_000, "end_time": 0, "status": {"state": "RUNNING"}, "queue_duration": 0,
        "tasks": [
            {"task_key": "a", "run_id": 2, "attempt_number": 0, "start_time": 100_000, "end_time": 130_000,
             "status": {"state": "TERMINATED", "termination_details": {"code": "RUN_EXECUTION_ERROR"}},
             "setup_duration": 10_000, "execution_duration": 20_000, "cleanup_duration": 0},
            {"task_key": "a", "run_id": 3, "attempt_number": 1, "start_time": 140_000, "end_time": 0,
             "status": {"state": "RUNNING"}, "setup_duration": 5_000, "execution_duration": 0, "cleanup_duration": 0},
            {"task_key": "b", "run_id": 4, "status": {"state": "BLOCKED"}, "start_time": 0},
            {"task_key": "c", "run_id": 5, "status": {"state": "PENDING"}, "start_time": 150_000},
        ],
    });
    let last = last_values(&run, 160_000, &MetricsRequest::default());
    assert_eq!(last["run_duration"], "60");
    assert_eq!(last["task_attempts task_key=a"], "2");
    assert_eq!(last["task_execution_duration task_key=a"], "20");
    assert_eq!(last["task_execution_duration attempt=2 task_key=a"], "15");
    assert_eq!(last["task_setup_duration task_key=c"], "10");
    assert!(!last.contains_key("task_attempts task_key=b"));
    let states = ["waiting", "preparing", "running", "succeeded", "failed", "skipped"]
        .map(|state| last[&format!("run_tasks state={state}")].as_str());
    assert_eq!(states, ["1", "1", "1", "0", "0", "0"]);
    // Between attempts the task waits.
    let at_135 = last_values(&run, 160_000, &until(135));
    assert_eq!(at_135["run_tasks state=waiting"], "3");
}

#[test]
fn task_states_sum_to_the_number_of_tasks_at_every_time() {
    let json = json!({
        "run_id": 1, "start_time": 100_000, "end_time": 200_000,
        "status": {"state": "TERMINATED", "termination_details": {"code": "RUN_EXECUTION_ERROR"}},
        "tasks": [
            {"task_key": "a", "run_id": 2, "start_time": 100_000, "end_time": 150_000, "execution_duration": 40_000,
             "status": {"state": "TERMINATED", "termination_details": {"code": "RUN_EXECUTION_ERROR"}}},
            {"task_key": "b", "run_id": 3, "start_time": 0, "end_time": 0,
             "status": {"state": "TERMINATED"}, "state": {"life_cycle_state": "TERMINATED", "result_state": "UPSTREAM_FAILED"}},
            {"task_key": "c", "run_id": 4, "start_time": 90_000, "end_time": 0, "status": {"state": "NOVEL"}},
        ],
    });
    let run: Run = serde_json::from_value(json.clone()).unwrap();
    let request = MetricsRequest::new(vec!["databricks_run_tasks".to_owned()])
        .with_step(Some(Duration::from_secs(7)));
    let metrics = response(&run, 0, &request);
    let series = &metrics[0].series;
    assert_eq!(series.len(), 6);
    for index in 0..series[0].samples.len() {
        let sum: f64 = series.iter().map(|series| series.samples[index].value).sum();
        assert!((sum - 3.0).abs() < 1e-9, "{sum}");
    }
    let last = last_values(&json, 0, &request);
    assert_eq!(last["run_tasks state=failed"], "2");
    assert_eq!(last["run_tasks state=skipped"], "1");
}

#[test]
fn run_that_has_not_started_has_no_samples() {
    let run = json!({"run_id": 1, "start_time": 0, "status": {"state": "QUEUED"}});
    assert_eq!(last_values(&run, 5, &MetricsRequest::default()), BTreeMap::new());
}

#[test]
fn largest_response_fits_into_a_grpc_message() {
    let tasks: Vec<Value> = (0..1_000)
        .map(|n| {
            let mut task = ended()["tasks"][0].clone();
            task["task_key"] = json!(format!("{n:0>100}"));
            task["run_id"] = json!(n + 2);
            task
        })
        .collect();
    let mut run = ended();
    run["tasks"] = json!(tasks);
    let run: Run = serde_json::from_value(run).unwrap();
    let metrics = response(&run, 0, &MetricsRequest::default());
    let series: usize = metrics.iter().map(|metric| metric.series.len()).sum();
    assert_eq!(series, 4_008);
    // The limit for machines is separate: 40 of them with 500 samples each.
    let sample =
        |at: u64| Sample { at: window::time(1_763_900_000_123 + at), value: 123_456_789_012.0 };
    let machines = vec![
        Series {
            labels: metrics[4].series[0].labels.clone(),
            samples: (0..500).map(sample).collect()
        };
        40
    ];
    let machines = Metric::new("EXECUTION_METRIC_USED_MEMORY_BYTES_AVG", machines);
    let all = metrics.iter().chain([&machines]);
    let bytes: usize = all.map(|metric| metric.to_range_query_result().encoded_len()).sum();
    assert!(bytes < 4 * 1024 * 1024, "{bytes}");
}
