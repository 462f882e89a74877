//! The executor's numbers, with its defaults.

use std::time::Duration;

/// How the executor behaves. The default is the executor as it is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The time from one `GetTask` of a task to the next (FC §1.5 `resyncInterval`).
    pub resync: Duration,
    /// The time from one look at a task to the next, when nothing else asks for one. A failing delete is repeated at
    /// this pace (FC §0.4).
    pub reconcile: Duration,
    /// The time from one system error to the next look: four pass within a second (FC §8.2).
    pub system_retry: Duration,
    /// How long after its end a task is collected, and its last attempt deleted (FC §0.4).
    pub collect_after: Duration,
    /// `GetTask` errors of an attempt that polling survives; the next one ends it (FC §0.3).
    pub max_sync_failures: u32,
    /// System errors in a row that a task survives; the next one ends it (FC §1.5).
    pub max_system_failures: u32,
}

impl Default for Settings {
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

impl Settings {
    /// The same executor in a world where all its waits are shorter by this factor. What it counts stays as it is.
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

/// How long the executor waits for an answer. `None` is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Of `CreateTask`.
    pub create: Option<Duration>,
    /// Of `GetTask`.
    pub get: Option<Duration>,
    /// Of `DeleteTask`.
    pub delete: Option<Duration>,
}

impl Deadlines {
    /// The same for every call: 10 s on the stock `defaultConnector` (FC §1.3), `None` on an entry of `connectors`
    /// (FC §1.2).
    pub const fn all(deadline: Option<Duration>) -> Self {
        Self { create: deadline, get: deadline, delete: deadline }
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
    fn a_faster_executor_waits_less_and_counts_the_same() {
        let stock = Settings::default();
        let fast = stock.clone().faster(100);
        assert_eq!(fast.resync, Duration::from_millis(300));
        assert_eq!(fast.collect_after, Duration::from_secs(36));
        assert_eq!(fast.max_sync_failures, stock.max_sync_failures);
        assert_eq!(stock.clone().faster(0), stock);
    }
}
