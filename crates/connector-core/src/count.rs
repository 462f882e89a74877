//! Numbers that a connector counts of its own.

/// A number that the server shows among its own. Counts of one name follow each other, and are one family.
#[derive(Debug, Clone, PartialEq)]
pub struct Count {
    /// Letters and underscores, such as `flyte_connector_sleep_nightmares`; without the ending `_total`.
    pub name: &'static str,
    /// One clause that says what is counted.
    pub help: &'static str,
    /// How it moves.
    pub kind: CountKind,
    /// What tells it from others of its name. Whatever a task or its author could make up has no place here: the
    /// values must be few.
    pub labels: Vec<(&'static str, String)>,
    /// How many.
    pub value: f64,
}

/// How a number moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountKind {
    /// It only grows while the process lives.
    Counter,
    /// It goes up and down.
    Gauge,
}
