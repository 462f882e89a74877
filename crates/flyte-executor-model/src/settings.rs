//! The executor's intervals and limits.

use std::time::Duration;

/// The executor's intervals and limits. The defaults are those of a Flyte installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorSettings {
    /// The interval between `GetTask` calls for a task: `resyncInterval` (flyte-contract.md#gettask).
    pub resync: Duration,
    /// The interval between reconciliations of a task, and between retries of a failed delete
    /// (flyte-contract.md#deletetask).
    pub reconcile: Duration,
    /// The delay after a system error: four occur within a second (flyte-contract.md#observed-backend).
    pub system_retry: Duration,
    /// The delay from the end of a task to its garbage collection, which deletes its last attempt
    /// (flyte-contract.md#deletetask).
    pub collect_after: Duration,
    /// The number of `GetTask` errors after which an attempt is still polled; the next one stops polling
    /// (flyte-contract.md#gettask-errors).
    pub max_sync_failures: u32,
    /// The number of consecutive system errors that a task survives; the next one fails it (flyte-contract.md#gettask).
    pub max_system_failures: u32,
}

impl Default for ExecutorSettings {
    fn default() -> Self {
        Self {
            resync: Duration::from_secs(30),
            reconcile: Duration::from_secs(10),
            system_retry: Duration::from_millis(250),
            collect_after: Duration::from_hours(1),
            max_sync_failures: 5,
            max_system_failures: 3,
        }
    }
}

impl ExecutorSettings {
    /// Divides all intervals by this factor. Limits do not change.
    #[must_use]
    pub fn faster(self, factor: u32) -> Self {
        let factor = factor.max(1);
        Self {
            resync: self.resync / factor,
            reconcile: self.reconcile / factor,
            system_retry: self.system_retry / factor,
            collect_after: self.collect_after / factor,
            ..self
        }
    }
}

/// The executor's deadlines. `None`: no deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For `CreateTask`.
    pub create: Option<Duration>,
    /// For `GetTask`.
    pub get: Option<Duration>,
    /// For `DeleteTask`.
    pub delete: Option<Duration>,
}

impl Deadlines {
    /// Sets one deadline for all calls: 10 s for the stock `defaultConnector`, `None` for an entry of `connectors`
    /// (flyte-contract.md#connection).
    pub const fn all(deadline: Option<Duration>) -> Self {
        Self { create: deadline, get: deadline, delete: deadline }
    }

    /// Returns the deadlines of `defaultTimeout` and `timeouts`. The keys of `timeouts` have no effect: the executor looks
    /// for `GetTask`, and its configuration has `gettask` (flyte-contract.md#observed-outages).
    pub fn configured(default_timeout: Duration, timeouts: &[(&str, Duration)]) -> Self {
        let timeout = |method: &str| {
            let loaded = timeouts.iter().map(|(key, timeout)| (key.to_lowercase(), *timeout));
            let found = loaded.into_iter().find(|(key, _)| key == method);
            Some(found.map_or(default_timeout, |(_, timeout)| timeout))
        };
        Self {
            create: timeout("CreateTask"),
            get: timeout("GetTask"),
            delete: timeout("DeleteTask"),
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self::all(Some(Duration::from_secs(10)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faster_divides_intervals_and_keeps_limits() {
        let stock = ExecutorSettings::default();
        let fast = stock.clone().faster(100);
        assert_eq!(fast.resync, Duration::from_millis(300));
        assert_eq!(fast.collect_after, Duration::from_secs(36));
        assert_eq!(fast.max_sync_failures, stock.max_sync_failures);
        assert_eq!(stock.clone().faster(0), stock);
    }
}
