//! The part of gRPC's service config that the executor can be given: waiting for a connection, and retries. The
//! decisions are those of grpc-go (gRPC proposals A6 and A54), whose client the executor is.

use std::time::Duration;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

/// The trailer by which a server steers retries.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// grpc-go tries no more often, whatever the policy says.
const MOST_ATTEMPTS: u32 = 5;

/// What is done with a call that has no connection, or that failed. Calls are spread over all replicas in either case:
/// `round_robin` is in the executor's default too (FC §1.2).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServiceConfig {
    /// Whether a call waits for a connection, up to its deadline, when there is none.
    pub wait_for_ready: bool,
    /// When a failed call is tried again; `None`: never.
    pub retry: Option<RetryPolicy>,
}

impl ServiceConfig {
    /// The executor's default: `round_robin` and nothing else.
    pub fn stock() -> Self {
        Self::default()
    }

    /// The one that FC §8.2 recommends: `waitForReady`, and five tries for UNAVAILABLE from 0.2 s to 5 s, doubling.
    pub fn patient() -> Self {
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
    /// Tries in all, the first included.
    pub max_attempts: u32,
    /// The wait before the second try, before it is jittered.
    pub initial_backoff: Duration,
    /// The longest wait.
    pub max_backoff: Duration,
    /// The factor from one wait to the next.
    pub multiplier: f64,
    /// The codes that are tried again.
    pub retryable: Vec<Code>,
}

/// What the server said about another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushback {
    /// Nothing.
    Silent,
    /// Try again after that time.
    After(Duration),
    /// Do not try again: a negative number, no number, or several.
    Never,
}

impl Pushback {
    fn of(trailers: &MetadataMap) -> Self {
        let mut values = trailers.get_all(PUSHBACK).iter();
        match (values.next(), values.next()) {
            (None, _) => Self::Silent,
            (Some(value), None) => value
                .to_str()
                .ok()
                .and_then(|text| text.parse::<u64>().ok())
                .map_or(Self::Never, |millis| Self::After(Duration::from_millis(millis))),
            (Some(_), Some(_)) => Self::Never,
        }
    }
}

/// The tries of one call.
#[derive(Debug, Clone, Default)]
pub struct Retries {
    done: u32,
    since_pushback: i32,
}

impl Retries {
    /// How long to wait before the next try after this failure; `None` when it is the call's answer. `jitter` is from
    /// 0 to 1.
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
        if self.done + 1 >= policy.max_attempts.min(MOST_ATTEMPTS) {
            return None;
        }
        self.done += 1;
        Some(match pushback {
            Pushback::After(wait) => {
                self.since_pushback = 0;
                wait
            }
            Pushback::Silent | Pushback::Never => {
                let grown = policy.initial_backoff.as_secs_f64()
                    * policy.multiplier.powi(self.since_pushback);
                self.since_pushback += 1;
                let bounded = grown.min(policy.max_backoff.as_secs_f64());
                Duration::from_secs_f64(bounded * (0.8 + 0.4 * jitter.clamp(0.0, 1.0)))
            }
        })
    }
}

/// The wait before a connection is tried again: from 1 s by 1.6 to 120 s, jittered by a fifth (gRPC's connection
/// backoff).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectBackoff {
    /// The first wait.
    pub base: Duration,
    /// The longest.
    pub max: Duration,
}

impl Default for ConnectBackoff {
    fn default() -> Self {
        Self { base: Duration::from_secs(1), max: Duration::from_mins(2) }
    }
}

impl ConnectBackoff {
    /// The wait after so many failures in a row, at least one.
    pub(crate) fn wait(self, failures: u32, jitter: f64) -> Duration {
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
        ServiceConfig::patient().retry.unwrap()
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
    fn waits_double_and_the_fifth_failure_is_the_answer() {
        let unavailable = || failure(Code::Unavailable, &[]);
        assert_eq!(
            waits(&[unavailable(), unavailable(), unavailable(), unavailable(), unavailable()]),
            [Some(200), Some(400), Some(800), Some(1600), None]
        );
    }

    #[test]
    fn only_listed_codes_are_tried_again() {
        for code in
            [Code::Internal, Code::ResourceExhausted, Code::DeadlineExceeded, Code::NotFound]
        {
            assert_eq!(waits(&[failure(code, &[])]), [None]);
            // A pushback does not make them so.
            assert_eq!(waits(&[failure(code, &["5"])]), [None]);
        }
    }

    #[test]
    fn a_pushback_sets_the_wait_and_starts_the_doubling_anew() {
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
    fn a_pushback_that_is_negative_or_no_number_or_said_twice_ends_it() {
        for pushbacks in [&["-1"][..], &["soon"], &[""], &["1", "2"]] {
            assert_eq!(waits(&[failure(Code::Unavailable, pushbacks)]), [None], "{pushbacks:?}");
        }
    }

    #[test]
    fn waits_stay_below_the_longest_and_within_their_jitter() {
        let policy = RetryPolicy { multiplier: 100.0, ..policy() };
        let mut retries = Retries::default();
        let failure = failure(Code::Unavailable, &[]);
        assert_eq!(retries.next(&policy, &failure, 0.0), Some(Duration::from_millis(160)));
        assert_eq!(retries.next(&policy, &failure, 1.0), Some(Duration::from_secs(6)));
    }

    #[test]
    fn connections_are_tried_ever_more_rarely() {
        let backoff = ConnectBackoff::default();
        assert_eq!(backoff.wait(1, 0.5), Duration::from_secs(1));
        assert_eq!(backoff.wait(2, 0.5), Duration::from_millis(1600));
        assert_eq!(backoff.wait(u32::MAX, 0.5), Duration::from_mins(2));
    }
}
