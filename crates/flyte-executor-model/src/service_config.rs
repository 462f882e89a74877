//! The parts of gRPC's service config that the executor supports: wait-for-ready and retries, as in grpc-go (gRPC proposals
//! A6 and A54).

use std::time::Duration;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

/// The trailer with which a server controls retries.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// grpc-go's upper limit of `max_attempts`.
const MAX_ATTEMPTS: u32 = 5;

/// How calls without a connection and failed calls are handled.
///
/// Calls are always spread over all replicas: `round_robin` is in the executor's default too
/// (flyte-contract.md#connection).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServiceConfig {
    /// Whether calls wait for a connection up to their deadline.
    pub wait_for_ready: bool,
    /// When failed calls are retried. `None`: never.
    pub retry: Option<RetryPolicy>,
}

impl ServiceConfig {
    /// Returns the executor's default: only `round_robin`.
    pub fn stock() -> Self {
        Self::default()
    }

    /// Returns the recommended config: `waitForReady`, and five tries on UNAVAILABLE with backoff from 0.2 s to 5 s
    /// (flyte-contract.md#observed-backend).
    pub fn recommended() -> Self {
        Self {
            wait_for_ready: true,
            retry: Some(RetryPolicy {
                max_attempts: 5,
                initial_backoff: Duration::from_millis(200),
                max_backoff: Duration::from_secs(5),
                multiplier: 2.0,
                retryable: vec![Code::Unavailable],
            }),
        }
    }
}

/// A `retryPolicy`.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// The number of tries including the first.
    pub max_attempts: u32,
    /// The wait before the second try, without jitter.
    pub initial_backoff: Duration,
    /// The longest wait.
    pub max_backoff: Duration,
    /// The factor from one wait to the next.
    pub multiplier: f64,
    /// The retried codes.
    pub retryable: Vec<Code>,
}

/// The server's retry pushback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushback {
    /// No pushback.
    Absent,
    /// Retry after this time.
    After(Duration),
    /// Do not retry: a negative number, not a number, or several values.
    Never,
}

impl Pushback {
    fn of(trailers: &MetadataMap) -> Self {
        let mut values = trailers.get_all(PUSHBACK).iter();
        match (values.next(), values.next()) {
            (None, _) => Self::Absent,
            (Some(value), None) => value
                .to_str()
                .ok()
                .and_then(|text| text.parse::<u64>().ok())
                .map_or(Self::Never, |millis| Self::After(Duration::from_millis(millis))),
            (Some(_), Some(_)) => Self::Never,
        }
    }
}

/// The retry state of one call.
#[derive(Debug, Clone, Default)]
pub struct Retries {
    done: u32,
    since_pushback: i32,
}

impl Retries {
    /// Returns the wait before the next try, or `None` if the failure is final. `jitter` is from 0 to 1.
    pub fn next(
        &mut self,
        policy: &RetryPolicy,
        failure: &Status,
        jitter: f64,
    ) -> Option<Duration> {
        let pushback = Pushback::of(failure.metadata());
        if pushback == Pushback::Never || !policy.retryable.contains(&failure.code()) {
            return None;
        }
        if self.done + 1 >= policy.max_attempts.min(MAX_ATTEMPTS) {
            return None;
        }
        self.done += 1;
        Some(match pushback {
            Pushback::After(wait) => {
                self.since_pushback = 0;
                wait
            }
            Pushback::Absent | Pushback::Never => {
                let grown = policy.initial_backoff.as_secs_f64()
                    * policy.multiplier.powi(self.since_pushback);
                self.since_pushback += 1;
                let bounded = grown.min(policy.max_backoff.as_secs_f64());
                Duration::from_secs_f64(bounded * (0.8 + 0.4 * jitter.clamp(0.0, 1.0)))
            }
        })
    }
}

/// gRPC's connection backoff: from 1 s to 120 s by a factor of 1.6, with 20 % jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectBackoff {
    /// The first wait.
    pub base: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Default for ConnectBackoff {
    fn default() -> Self {
        Self { base: Duration::from_secs(1), max: Duration::from_mins(2) }
    }
}

impl ConnectBackoff {
    /// Returns the wait after this number of consecutive failures.
    pub fn wait(self, failures: u32, jitter: f64) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let bounded =
            (self.base.as_secs_f64() * 1.6_f64.powi(exponent)).min(self.max.as_secs_f64());
        Duration::from_secs_f64(bounded * (0.8 + 0.4 * jitter.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        ServiceConfig::recommended().retry.unwrap()
    }

    fn failure(code: Code, pushbacks: &[&'static str]) -> Status {
        let mut status = Status::new(code, "no");
        for pushback in pushbacks {
            status.metadata_mut().append(PUSHBACK, pushback.parse().unwrap());
        }
        status
    }

    fn waits(failures: &[Status]) -> Vec<Option<u128>> {
        let mut retries = Retries::default();
        failures
            .iter()
            .map(|failure| retries.next(&policy(), failure, 0.5).map(|wait| wait.as_millis()))
            .collect()
    }

    #[test]
    fn waits_double_and_the_fifth_failure_is_final() {
        let unavailable = || failure(Code::Unavailable, &[]);
        assert_eq!(
            waits(&[unavailable(), unavailable(), unavailable(), unavailable(), unavailable()]),
            [Some(200), Some(400), Some(800), Some(1600), None]
        );
    }

    #[test]
    fn only_listed_codes_are_retried() {
        for code in
            [Code::Internal, Code::ResourceExhausted, Code::DeadlineExceeded, Code::NotFound]
        {
            assert_eq!(waits(&[failure(code, &[])]), [None]);
            // A pushback does not make them retryable.
            assert_eq!(waits(&[failure(code, &["5"])]), [None]);
        }
    }

    #[test]
    fn pushback_sets_the_wait_and_resets_the_backoff() {
        assert_eq!(
            waits(&[
                failure(Code::Unavailable, &[]),
                failure(Code::Unavailable, &["7"]),
                failure(Code::Unavailable, &[]),
                failure(Code::Unavailable, &[]),
            ]),
            [Some(200), Some(7), Some(200), Some(400)]
        );
    }

    #[test]
    fn negative_invalid_or_repeated_pushback_forbids_retries() {
        for pushbacks in [&["-1"][..], &["soon"], &[""], &["1", "2"]] {
            assert_eq!(waits(&[failure(Code::Unavailable, pushbacks)]), [None], "{pushbacks:?}");
        }
    }

    #[test]
    fn waits_are_bounded_and_jittered() {
        let policy = RetryPolicy { multiplier: 100.0, ..policy() };
        let mut retries = Retries::default();
        let failure = failure(Code::Unavailable, &[]);
        assert_eq!(retries.next(&policy, &failure, 0.0), Some(Duration::from_millis(160)));
        assert_eq!(retries.next(&policy, &failure, 1.0), Some(Duration::from_secs(6)));
    }

    #[test]
    fn connection_backoff_grows() {
        let backoff = ConnectBackoff::default();
        assert_eq!(backoff.wait(1, 0.5), Duration::from_secs(1));
        assert_eq!(backoff.wait(2, 0.5), Duration::from_millis(1600));
        assert_eq!(backoff.wait(u32::MAX, 0.5), Duration::from_mins(2));
    }
}
