//! How long polls of a run have failed, and the response: the last known phase, or the failure of
//! the task after a grace period. Pure.

use std::time::{Duration, Instant};

use crate::Phase;

/// Why a poll failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollFailure {
    /// A failure of the network or the service, or a rate limit. It ends without intervention. After its grace period the
    /// task is `FAILED`.
    Transient,
    /// The credential or the host was rejected, until an operator or user fixes it. After its grace period the task is
    /// `FAILED`: its run may be active, and a retry would run beside it.
    Rejected,
    /// The service reports that the run does not exist. After its grace period the task is `RETRYABLE_FAILED`.
    NotFound,
}

/// How long each kind of failure may last before the task fails.
#[derive(Debug, Clone, Copy)]
pub struct GracePeriods {
    /// For [`PollFailure::Rejected`].
    pub rejected: Duration,
    /// For [`PollFailure::NotFound`].
    pub not_found: Duration,
    /// For [`PollFailure::Transient`]. Unlimited if absent.
    pub transient: Option<Duration>,
}

impl Default for GracePeriods {
    /// 15 minutes for a rejection, one minute for a run that does not exist, no limit for transient failures.
    fn default() -> Self {
        Self {
            rejected: Duration::from_mins(15),
            not_found: Duration::from_mins(1),
            transient: None,
        }
    }
}

/// The response to a failed poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureResponse {
    /// Keep the last known phase.
    KeepPhase {
        /// The last known phase.
        phase: Phase,
        /// How long polls have failed.
        elapsed: Duration,
    },
    /// The grace period has expired: fail the task.
    FailTask {
        /// The terminal phase.
        phase: Phase,
        /// How long polls have failed.
        elapsed: Duration,
    },
}

/// When each kind of failure began. A successful poll resets the timers to their default.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_field_names, reason = "each is the start of one kind of failure")]
pub(super) struct FailureTimers {
    failing_since: Option<Instant>,
    rejected_since: Option<Instant>,
    not_found_since: Option<Instant>,
}

impl FailureTimers {
    /// Records a failed poll and returns the response.
    ///
    /// A run that cannot be read may still be active, so its task fails permanently (FAILED): a
    /// retry would run at the same time. The task of a run that no longer exists can be retried.
    pub(super) fn record(
        &mut self,
        failure: PollFailure,
        grace_periods: GracePeriods,
        last_phase: Phase,
        now: Instant,
    ) -> FailureResponse {
        let failing_since = *self.failing_since.get_or_insert(now);
        let (since, grace_period, phase) = match failure {
            PollFailure::Transient => (failing_since, grace_periods.transient, Phase::Failed),
            PollFailure::Rejected => {
                let since = *self.rejected_since.get_or_insert(now);
                (since, Some(grace_periods.rejected), Phase::Failed)
            }
            PollFailure::NotFound => {
                // The service accepted the credential.
                self.rejected_since = None;
                let since = *self.not_found_since.get_or_insert(now);
                (since, Some(grace_periods.not_found), Phase::RetryableFailed)
            }
        };
        let elapsed = now.saturating_duration_since(since);
        if grace_period.is_some_and(|grace_period| elapsed >= grace_period) {
            FailureResponse::FailTask { phase, elapsed }
        } else {
            FailureResponse::KeepPhase { phase: last_phase, elapsed }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE_PERIODS: GracePeriods = GracePeriods {
        rejected: Duration::from_mins(15),
        not_found: Duration::from_mins(1),
        transient: None,
    };

    /// Records a failure at each of these seconds after a start. Returns the last response.
    fn last_response(
        grace_periods: GracePeriods,
        failures: &[(PollFailure, u64)],
    ) -> FailureResponse {
        let start = Instant::now();
        let mut timers = FailureTimers::default();
        let mut response = None;
        for &(failure, seconds) in failures {
            let now = start + Duration::from_secs(seconds);
            response = Some(timers.record(failure, grace_periods, Phase::Initializing, now));
        }
        response.unwrap()
    }

    fn kept(seconds: u64) -> FailureResponse {
        FailureResponse::KeepPhase {
            phase: Phase::Initializing,
            elapsed: Duration::from_secs(seconds),
        }
    }

    fn failed(phase: Phase, seconds: u64) -> FailureResponse {
        FailureResponse::FailTask { phase, elapsed: Duration::from_secs(seconds) }
    }

    #[test]
    fn transient_failures_keep_the_last_phase_without_limit_by_default() {
        use PollFailure::Transient;
        assert_eq!(last_response(GRACE_PERIODS, &[(Transient, 0)]), kept(0));
        let day = [(Transient, 0), (Transient, 1_000_000)];
        assert_eq!(last_response(GRACE_PERIODS, &day), kept(1_000_000));
    }

    #[test]
    fn transient_failures_fail_the_task_after_a_configured_grace_period() {
        use PollFailure::Transient;
        let limited = GracePeriods { transient: Some(Duration::from_hours(1)), ..GRACE_PERIODS };
        assert_eq!(last_response(limited, &[(Transient, 0), (Transient, 3_599)]), kept(3_599));
        assert_eq!(
            last_response(limited, &[(Transient, 0), (Transient, 3_600)]),
            failed(Phase::Failed, 3_600)
        );
    }

    #[test]
    fn rejections_fail_the_task_for_good_after_15_minutes() {
        use PollFailure::{Rejected, Transient};
        assert_eq!(last_response(GRACE_PERIODS, &[(Rejected, 0), (Rejected, 899)]), kept(899));
        assert_eq!(
            last_response(GRACE_PERIODS, &[(Rejected, 0), (Rejected, 900)]),
            failed(Phase::Failed, 900)
        );
        assert_eq!(last_response(GRACE_PERIODS, &[(Rejected, 0), (Transient, 99)]), kept(99));
        // A transient failure between two rejections does not show that the credential is
        // accepted.
        let interrupted = [(Rejected, 0), (Transient, 99), (Rejected, 900)];
        assert_eq!(last_response(GRACE_PERIODS, &interrupted), failed(Phase::Failed, 900));
    }

    #[test]
    fn a_missing_run_becomes_retryable_after_a_minute_and_ends_a_rejection() {
        use PollFailure::{NotFound, Rejected};
        assert_eq!(last_response(GRACE_PERIODS, &[(NotFound, 0), (NotFound, 59)]), kept(59));
        assert_eq!(
            last_response(GRACE_PERIODS, &[(NotFound, 0), (NotFound, 60)]),
            failed(Phase::RetryableFailed, 60)
        );
        let accepted = [(Rejected, 0), (NotFound, 1), (Rejected, 900)];
        assert_eq!(last_response(GRACE_PERIODS, &accepted), kept(0));
    }
}
