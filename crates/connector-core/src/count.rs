//! Numbers that a connector counts of its own.

/// A number that only grows while the process lives. The server shows it among its own, so it holds no labels: whatever
/// a task or its author could make up has no place in a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Letters and underscores, without the ending `_total`, such as `flyte_connector_sleep_nightmares`.
    pub name: &'static str,
    /// One clause that says what is counted.
    pub help: &'static str,
    /// How many, since the start of the process.
    pub value: u64,
}
