//! Converts the rows of the statement to series. Pure.

use std::collections::BTreeMap;

use connector_core::{Error, ErrorKind, Sample, Series};
use databricks_client::statements::StatementRows;

use crate::task_metrics::{
    series::MachineUsage,
    window::{self, ClippedWindow},
};

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// The column index of each name in [`NAMES`].
struct Columns([usize; 9]);

const NAMES: [&str; 9] = [
    "cluster_id",
    "instance_id",
    "driver",
    "node_type",
    "step",
    "cpu_percent",
    "memory_percent",
    "core_count",
    "memory_mb",
];

impl Columns {
    fn of(table: &StatementRows) -> Option<Self> {
        let mut indices = [0; 9];
        for (index, name) in indices.iter_mut().zip(NAMES) {
            *index = table.columns().iter().position(|column| column == name)?;
        }
        Some(Self(indices))
    }

    /// Returns the values of a row in the order of [`NAMES`].
    fn values<'a>(&self, row: &'a [Option<String>]) -> [Option<&'a str>; 9] {
        self.0.map(|index| row.get(index).and_then(Option::as_deref))
    }
}

/// Returns the series of each machine, in row order. Omits values of machines of unknown size.
///
/// # Errors
///
/// `Unavailable` if the columns are not those of the statement.
pub(super) fn read(
    table: &StatementRows,
    window: ClippedWindow,
    step: u64,
) -> Result<MachineUsage, Error> {
    let columns = Columns::of(table).or_else(|| table.rows().is_empty().then_some(Columns([0; 9])));
    let Some(columns) = columns else {
        let message = "the result of the system tables query has unexpected columns";
        return Err(Error::new(ErrorKind::Unavailable, message));
    };
    let mut usage = MachineUsage::default();
    for row in table.rows() {
        let [cluster, instance, driver, node_type, at, cpu, memory, cores, mebibytes] =
            columns.values(row);
        let Some(at) = at.and_then(|at| step_end(at, window, step)) else { continue };
        let role = if driver == Some("true") { "driver" } else { "worker" };
        let labels = [
            ("cluster_id", cluster.unwrap_or_default()),
            ("instance_id", instance.unwrap_or_default()),
            ("node_type", node_type.unwrap_or_default()),
            ("role", role),
        ];
        let fraction = |percent: Option<&str>, total: Option<&str>| {
            Some(number(percent)? / 100.0 * number(total)?)
        };
        if let Some(cores) = fraction(cpu, cores) {
            push_sample(&mut usage.cpu, &labels, Sample { at, value: cores });
        }
        if let Some(mebibytes) = fraction(memory, mebibytes) {
            push_sample(
                &mut usage.memory,
                &labels,
                Sample { at, value: (mebibytes * MEBIBYTE).round() },
            );
        }
    }
    Ok(usage)
}

/// Returns the end of a step, or of the window if that is earlier.
fn step_end(step_number: &str, window: ClippedWindow, step: u64) -> Option<std::time::SystemTime> {
    let offset = step_number.parse::<u64>().ok()?.checked_mul(step)?;
    Some(window::time(window.anchor.checked_add(offset)?.min(window.until)))
}

fn number(text: Option<&str>) -> Option<f64> {
    text?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Adds a sample to the series with these labels: the last one, if the rows are sorted.
fn push_sample(all: &mut Vec<Series>, labels: &[(&str, &str)], sample: Sample) {
    let is_same = |series: &Series| {
        labels.iter().all(|(name, value)| series.labels.get(*name).is_some_and(|has| has == value))
    };
    if let Some(series) = all.iter_mut().rev().find(|series| is_same(series)) {
        series.samples.push(sample);
        return;
    }
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let labels: BTreeMap<String, String> = labels.iter().map(owned).collect();
    all.push(Series { labels, samples: vec![sample] });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[&str]) -> StatementRows {
        let value = |value: &str| (value != "-").then(|| value.to_owned());
        let row = |row: &&str| row.split(' ').map(value).collect();
        StatementRows::new(NAMES.map(str::to_owned).into(), rows.iter().map(row).collect())
    }

    const WINDOW: ClippedWindow =
        ClippedWindow { anchor: 60_000, from: 60_000, until: 200_000, step: None };

    /// Returns the role of each series, with its samples as seconds and value.
    fn samples(list: &[Series]) -> Vec<(&str, Vec<(u64, f64)>)> {
        let sample = |sample: &Sample| (window::since_epoch(sample.at) / 1_000, sample.value);
        let of_series = |series: &Series| series.samples.iter().map(sample).collect();
        list.iter().map(|series| (series.labels["role"].as_str(), of_series(series))).collect()
    }

    #[test]
    fn percentages_become_cores_and_bytes() {
        let table = table(&[
            "c i-1 true m5.xlarge 0 50.0 25.0 4.0 16384",
            "c i-1 true m5.xlarge 1 75.0 50.0 4.0 16384",
            "c i-2 false m5.xlarge 1 100.0 12.5 4.0 16384",
        ]);
        let usage = read(&table, WINDOW, 60_000).unwrap();
        assert_eq!(
            samples(&usage.cpu),
            [("driver", vec![(60, 2.0), (120, 3.0)]), ("worker", vec![(120, 4.0)])]
        );
        let gibibyte = 1024.0 * MEBIBYTE;
        assert_eq!(
            samples(&usage.memory),
            [
                ("driver", vec![(60, 4.0 * gibibyte), (120, 8.0 * gibibyte)]),
                ("worker", vec![(120, 2.0 * gibibyte)])
            ]
        );
        let labels = &usage.cpu[0].labels;
        assert_eq!((labels["cluster_id"].as_str(), labels["instance_id"].as_str()), ("c", "i-1"));
    }

    #[test]
    fn last_step_ends_with_the_window() {
        let usage = read(&table(&["c i true t 3 50 50 2 1024"]), WINDOW, 60_000).unwrap();
        assert_eq!(samples(&usage.cpu), [("driver", vec![(200, 1.0)])]);
    }

    #[test]
    fn machine_of_unknown_size_has_no_values() {
        let usage =
            read(&table(&["c i true t 0 50 50 - -", "c i true t 1 NaN 50 - 1024"]), WINDOW, 1)
                .unwrap();
        assert_eq!(usage.cpu, []);
        assert_eq!(samples(&usage.memory).len(), 1);
    }

    #[test]
    fn invalid_rows_are_omitted_and_unexpected_columns_are_an_error() {
        let invalid = [
            "c i true t -1 1 1 1 1",
            "c i true t x 1 1 1 1",
            "c i true t 99999999999999999999 1 1 1 1",
        ];
        assert_eq!(read(&table(&invalid), WINDOW, 60_000).unwrap(), MachineUsage::default());
        let other = StatementRows::new(vec!["a".to_owned()], vec![vec![None]]);
        assert_eq!(read(&other, WINDOW, 1).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(read(&StatementRows::default(), WINDOW, 1).unwrap(), MachineUsage::default());
    }
}
