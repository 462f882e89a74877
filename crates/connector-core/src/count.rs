//! Numbers that a connector counts of its own.

use crate::Distribution;

/// A number that the server shows among its own. Counts of one name follow each other, and are one family.
#[derive(Debug, Clone, PartialEq)]
pub struct Count {
    /// Letters and underscores, such as `flyte_connector_sleep_nightmares`; without the ending `_total`.
    pub name: &'static str,
    /// One clause that says what is counted.
    pub help: &'static str,
    /// What tells it from others of its name. Whatever a task or its author could make up has no place here: the
    /// values must be few.
    pub labels: Vec<(&'static str, String)>,
    /// How it moves, and where it is. The same kind for all of one name.
    pub reading: Reading,
}

/// Where a number is.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// It only grows while the process lives.
    Counter(f64),
    /// It goes up and down.
    Gauge(f64),
    /// Not one number but many, by their size.
    Histogram(Distribution),
}
