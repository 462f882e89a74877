//! The time limits of a task, and the limit of its run. Pure.

use flyteidl2::core::TaskMetadata;
use prost_types::Duration;

/// The time limits of a task, in whole seconds of at least 1. `None` means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TimeLimits {
    /// `timeout=` or `Timeout.max_runtime`: of one attempt.
    pub(crate) max_runtime: Option<i64>,
    /// `Timeout.deadline`: of all attempts together. Each run gets it whole, because no request has the start of the first.
    pub(crate) deadline: Option<i64>,
    /// `Timeout.max_queued_time`: until the run starts. Databricks has no such limit.
    pub(crate) max_queued_time: Option<i64>,
}

impl TimeLimits {
    pub(super) fn new(metadata: &TaskMetadata) -> Self {
        let strategy = metadata.timeouts.as_ref();
        Self {
            max_runtime: seconds(metadata.timeout.as_ref()),
            deadline: seconds(strategy.and_then(|strategy| strategy.deadline.as_ref())),
            max_queued_time: seconds(
                strategy.and_then(|strategy| strategy.queued_timeout.as_ref()),
            ),
        }
    }

    /// Returns `timeout_seconds` of a run: the user's own value, else the limit of an attempt, unless the deadline is
    /// shorter. A value of 0 means no limit (databricks-api.md#runs-submit).
    pub(crate) fn timeout_seconds(self, users: Option<i64>) -> Option<i64> {
        let limit = users.or(self.max_runtime);
        match (limit, self.deadline) {
            (Some(0), Some(deadline)) => Some(deadline),
            (limit, deadline) => limit.into_iter().chain(deadline).min(),
        }
    }

    /// Returns which limits Databricks cannot enforce, in words for the user. A run of a saved job takes none.
    pub(crate) fn not_enforced(self, is_saved_job: bool) -> Option<String> {
        let of_saved_job = |limit: Option<i64>| limit.filter(|_| is_saved_job);
        let limits: Vec<String> = [
            ("timeout", of_saved_job(self.max_runtime)),
            ("deadline", of_saved_job(self.deadline)),
            ("max_queued_time", self.max_queued_time),
        ]
        .into_iter()
        .filter_map(|(name, limit)| Some(format!("`{name}` of {} s", limit?)))
        .collect();
        let why = if is_saved_job {
            "Databricks takes no time limit for a run of a saved job"
        } else {
            "Databricks has no limit for the time in its queue"
        };
        (!limits.is_empty()).then(|| format!("{} not enforced: {why}", limits.join(", ")))
    }
}

/// Returns a duration in seconds, rounded up and within the 32 bits of the API. `None` unless it is positive.
fn seconds(duration: Option<&Duration>) -> Option<i64> {
    let duration = duration?;
    let seconds = duration.seconds.saturating_add(i64::from(duration.nanos > 0));
    (seconds > 0).then_some(seconds.min(i64::from(i32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortest_limit_is_the_timeout_of_a_run() {
        let limits =
            |max_runtime, deadline| TimeLimits { max_runtime, deadline, max_queued_time: None };
        for (limits, users, timeout) in [
            (limits(None, None), None, None),
            (limits(Some(600), None), None, Some(600)),
            (limits(Some(600), Some(20)), None, Some(20)),
            (limits(Some(20), Some(600)), None, Some(20)),
            (limits(None, Some(20)), None, Some(20)),
            (limits(Some(600), None), Some(60), Some(60)),
            (limits(Some(60), None), Some(600), Some(600)),
            (limits(Some(60), None), Some(0), Some(0)),
            (limits(None, Some(20)), Some(600), Some(20)),
            (limits(None, Some(20)), Some(0), Some(20)),
        ] {
            assert_eq!(limits.timeout_seconds(users), timeout, "{limits:?} {users:?}");
        }
    }

    #[test]
    fn durations_are_rounded_up_and_bounded() {
        for (duration, limit) in [
            ((20, 0), Some(20)),
            ((20, 1), Some(21)),
            ((0, 1), Some(1)),
            ((0, 0), None),
            ((-5, 0), None),
            ((i64::MAX, 999_999_999), Some(i64::from(i32::MAX))),
            ((i64::MIN, -1), None),
        ] {
            let (seconds, nanos) = duration;
            assert_eq!(super::seconds(Some(&Duration { seconds, nanos })), limit, "{duration:?}");
        }
    }
}
