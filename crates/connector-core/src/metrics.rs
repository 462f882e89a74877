//! Time series of a task.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use prost_types::Struct;
use serde_json::{Value, json};

use crate::value;

/// Arguments of [`Connector::get_metrics`](crate::Connector::get_metrics).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricsRequest {
    /// Names of the requested metrics. Empty: the connector's default set.
    pub names: Vec<String>,
    /// Start of the time range.
    pub start: Option<SystemTime>,
    /// End of the time range.
    pub end: Option<SystemTime>,
    /// Interval between samples.
    pub step: Option<Duration>,
}

impl MetricsRequest {
    /// Creates a request for these metrics, without a time range.
    pub fn new(names: Vec<String>) -> Self {
        Self { names, ..Self::default() }
    }

    /// Returns the request with this time range.
    #[must_use]
    pub fn with_range(mut self, start: Option<SystemTime>, end: Option<SystemTime>) -> Self {
        self.start = start;
        self.end = end;
        self
    }

    /// Returns the request with this interval between samples.
    #[must_use]
    pub fn with_step(mut self, step: Option<Duration>) -> Self {
        self.step = step;
        self
    }
}

/// A value at a point in time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Time of the sample.
    pub at: SystemTime,
    /// Value, in the unit of the metric's name.
    pub value: f64,
}

/// A time series: labels and samples.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// Labels by name.
    pub labels: BTreeMap<String, String>,
    /// Samples in ascending order of time.
    pub samples: Vec<Sample>,
}

/// All series of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Name of the metric.
    pub name: String,
    /// Its series, which differ in their labels.
    pub series: Vec<Series>,
}

impl Metric {
    /// Creates a metric.
    pub fn new(name: impl Into<String>, series: Vec<Series>) -> Self {
        Self { name: name.into(), series }
    }

    /// Returns the metric as a Prometheus range query result, which Flyte expects in `data`
    /// (flyte-contract.md#logs-and-metrics).
    ///
    /// As in Prometheus, times are seconds since the epoch and values are strings.
    pub fn to_range_query_result(&self) -> Struct {
        let result: Vec<Value> = self
            .series
            .iter()
            .map(|series| {
                let mut labels = series.labels.clone();
                labels.insert("__name__".to_owned(), self.name.clone());
                let values: Vec<Value> = series
                    .samples
                    .iter()
                    .map(|s| json!([epoch_seconds(s.at), s.value.to_string()]))
                    .collect();
                json!({ "metric": labels, "values": values })
            })
            .collect();
        let mut matrix = serde_json::Map::new();
        matrix.insert("resultType".to_owned(), json!("matrix"));
        matrix.insert("result".to_owned(), Value::Array(result));
        value::struct_from_json(&matrix)
    }
}

fn epoch_seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_query_result_is_matrix_of_unix_seconds_and_strings() {
        let metric = Metric {
            name: "queue_seconds".to_owned(),
            series: vec![Series {
                labels: [("task".to_owned(), "main".to_owned())].into(),
                samples: vec![Sample {
                    at: SystemTime::UNIX_EPOCH + Duration::from_millis(1500),
                    value: 2.0,
                }],
            }],
        };
        let shown = value::json_from_struct(&metric.to_range_query_result()).unwrap();
        assert_eq!(
            Value::Object(shown),
            json!({"resultType": "matrix", "result": [
                {"metric": {"__name__": "queue_seconds", "task": "main"}, "values": [[1.5, "2"]]}]})
        );
    }
}
