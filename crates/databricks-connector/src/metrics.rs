//! Durations of a run as metrics: what the run itself says, with no set-up at all.

use std::time::{Duration, SystemTime};

use connector_core::{CallContext, Error, Metric, MetricsRequest, Sample, Series};
use databricks_client::jobs::{Run, RunTask};

use crate::{DatabricksConnector, error, logs, run_meta::RunMeta};

/// One known metric: its name and where its milliseconds stand.
enum Source {
    Run(fn(&Run) -> Option<i64>),
    Task(fn(&RunTask) -> Option<i64>),
}

/// Every known metric. Those of tasks have one series a task: the run's own figures are 0 for them (DA §1.3).
const KNOWN: [(&str, Source); 5] = [
    ("databricks_run_queue_duration_seconds", Source::Run(|run| run.queue_duration)),
    ("databricks_run_duration_seconds", Source::Run(|run| run.run_duration)),
    ("databricks_task_setup_duration_seconds", Source::Task(|task| task.setup_duration)),
    ("databricks_task_execution_duration_seconds", Source::Task(|task| task.execution_duration)),
    ("databricks_task_cleanup_duration_seconds", Source::Task(|task| task.cleanup_duration)),
];

/// The asked durations of a run, each with one sample: at the end of the run, or now while it runs.
///
/// # Errors
///
/// `InvalidRequest` for an unknown name, with the known ones; whatever keeps the run from being read.
pub(crate) async fn of_run(
    connector: &DatabricksConnector,
    cx: &CallContext,
    meta: &RunMeta,
    request: &MetricsRequest,
) -> Result<Vec<Metric>, Error> {
    if let Some(unknown) =
        request.names.iter().find(|name| KNOWN.iter().all(|(known, _)| known != name))
    {
        let known: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
        return Err(Error::invalid_request(format!("there is no metric `{unknown}`"))
            .with_hint(format!("the metrics are {}", known.join(", "))));
    }
    let client = logs::client_of_run(connector, cx, meta).await?;
    let run = client
        .get_run(meta.run_id)
        .await
        .map_err(|error| error::from_client("reading the run", error))?;
    Ok(select(&run, request, SystemTime::now()))
}

fn select(run: &Run, request: &MetricsRequest, now: SystemTime) -> Vec<Metric> {
    let at = run
        .end_time
        .and_then(|milliseconds| u64::try_from(milliseconds).ok())
        .filter(|milliseconds| *milliseconds > 0)
        .map_or(now, |milliseconds| SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds));
    let in_window =
        request.start.is_none_or(|start| at >= start) && request.end.is_none_or(|end| at <= end);
    KNOWN
        .iter()
        .filter(|(name, _)| {
            request.names.is_empty() || request.names.iter().any(|asked| asked == name)
        })
        .map(|(name, source)| {
            let series = match source {
                _ if !in_window => Vec::new(),
                Source::Run(field) => one(field(run), at, None).into_iter().collect(),
                Source::Task(field) => run
                    .latest_attempts()
                    .into_iter()
                    .filter_map(|task| one(field(task), at, Some(task.task_key.as_str())))
                    .collect(),
            };
            Metric { name: (*name).to_owned(), series }
        })
        .collect()
}

fn one(milliseconds: Option<i64>, at: SystemTime, task: Option<&str>) -> Option<Series> {
    let value = Duration::from_millis(u64::try_from(milliseconds?).ok()?).as_secs_f64();
    let labels = task.map(|task| ("task_key".to_owned(), task.to_owned())).into_iter().collect();
    Some(Series { labels, samples: vec![Sample { at, value }] })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run() -> Run {
        serde_json::from_value(json!({
            "run_id": 1, "end_time": 10_000, "queue_duration": 1500, "run_duration": 9000,
            "tasks": [{"task_key": "a", "run_id": 2, "setup_duration": 250, "execution_duration": 8000}],
        }))
        .unwrap()
    }

    #[test]
    fn an_empty_request_is_answered_with_every_metric() {
        let metrics = select(&run(), &MetricsRequest::default(), SystemTime::UNIX_EPOCH);
        let told: Vec<(String, Vec<f64>)> = metrics
            .into_iter()
            .map(|metric| {
                (
                    metric.name,
                    metric.series.iter().flat_map(|s| s.samples.iter().map(|s| s.value)).collect(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("databricks_run_queue_duration_seconds".to_owned(), vec![1.5]),
                ("databricks_run_duration_seconds".to_owned(), vec![9.0]),
                ("databricks_task_setup_duration_seconds".to_owned(), vec![0.25]),
                ("databricks_task_execution_duration_seconds".to_owned(), vec![8.0]),
                ("databricks_task_cleanup_duration_seconds".to_owned(), vec![]),
            ]
        );
    }

    #[test]
    fn a_sample_outside_the_window_is_not_told() {
        let request = MetricsRequest {
            names: vec!["databricks_run_duration_seconds".to_owned()],
            start: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(11)),
            ..MetricsRequest::default()
        };
        let metrics = select(&run(), &request, SystemTime::UNIX_EPOCH);
        assert_eq!(metrics.len(), 1);
        assert!(metrics[0].series.is_empty());
    }
}
