//! The faults of calls, runs and connections.

use super::canned_response::CannedResponse;
use crate::clock;
use axum::http::HeaderValue;
use serde::{Deserialize, Deserializer};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::{Duration, SystemTime};

/// A fault of any call. In JSON `"drop_after"`, `{"cut_body": 10}` etc.; see the crate documentation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// Returns this response. The call has no effect.
    Answer(CannedResponse),
    /// Returns 429. The call has no effect.
    RateLimited(RetryAfter),
    /// Returns 302 with this location. The call has no effect.
    #[serde(deserialize_with = "header_value")]
    Redirect(HeaderValue),
    /// Closes the connection (HTTP/2: resets the stream) without a response. The call has no effect.
    DropBefore,
    /// Executes the call, then closes the connection without a response.
    DropAfter,
    /// Delays the execution of the call. It is executed even if the client disconnects.
    #[serde(rename = "delay_before_ms", deserialize_with = "milliseconds")]
    DelayBefore(Duration),
    /// Executes the call and delays the response.
    #[serde(rename = "delay_after_ms", deserialize_with = "milliseconds")]
    DelayAfter(Duration),
    /// Sends the response body in pieces, with a pause before each.
    SlowBody(SlowBody),
    /// Breaks the connection after this many bytes of the response body. A shorter body is sent completely.
    CutBody(usize),
    /// Replaces the `Content-Type` of the response.
    #[serde(deserialize_with = "header_value")]
    ContentType(HeaderValue),
    /// Checks the expiry of the token with a wrong clock. Affects
    /// [expiring tokens](crate::EmulatorBuilder::expiring_token) only.
    TokenClock(TokenClock),
}

/// The `Retry-After` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    /// No such header. In JSON `"unsaid"`.
    #[serde(rename = "unsaid")]
    Absent,
    /// A number of seconds.
    Seconds(u32),
    /// The HTTP date (RFC 9110) this many seconds from now.
    DateIn(u32),
}

impl RetryAfter {
    pub(crate) fn header(self) -> Option<String> {
        match self {
            Self::Absent => None,
            Self::Seconds(seconds) => Some(seconds.to_string()),
            Self::DateIn(seconds) => {
                let at = SystemTime::now() + Duration::from_secs(seconds.into());
                Some(httpdate::fmt_http_date(at))
            }
        }
    }
}

/// How slowly a response body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowBody {
    /// The size of a piece in bytes.
    pub piece: NonZeroUsize,
    /// The pause before each piece.
    #[serde(rename = "pause_ms", deserialize_with = "milliseconds")]
    pub pause: Duration,
}

/// The error of the clock that checks the expiry of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenClock {
    /// The clock is fast: tokens expire too early.
    #[serde(rename = "ahead_seconds", deserialize_with = "seconds")]
    Ahead(Duration),
    /// The clock is slow: tokens are accepted too long.
    #[serde(rename = "behind_seconds", deserialize_with = "seconds")]
    Behind(Duration),
}

impl TokenClock {
    /// Returns the time of this clock since the epoch; without skew the correct one.
    pub(crate) fn now(skew: Option<Self>) -> Duration {
        match skew {
            None => clock::now(),
            Some(Self::Ahead(by)) => clock::now().saturating_add(by),
            Some(Self::Behind(by)) => clock::now().saturating_sub(by),
        }
    }
}

/// A fault of a call for one run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunFault {
    /// A fault of any call.
    Call(Fault),
    /// Deletes the run before the call is executed, as [`Emulator::delete_run`](crate::Emulator::delete_run) does. In JSON
    /// `"run_deleted"`.
    Deleted,
    /// Makes a read show the run this many steps earlier than it is, at most its first step: a stale read. The run itself
    /// does not change. In JSON `{"earlier_state": 1}`.
    EarlierState(NonZeroU32),
}

impl From<Fault> for RunFault {
    fn from(fault: Fault) -> Self {
        Self::Call(fault)
    }
}

/// A fault of a new HTTPS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConnectionFault {
    /// The connection is closed before the TLS handshake.
    Closed,
    /// The server responds in plain HTTP instead of TLS.
    NotTls,
    /// The certificate is signed by an untrusted CA.
    UntrustedCertificate,
    /// The certificate has expired.
    ExpiredCertificate,
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u32::deserialize(deserializer).map(|millis| Duration::from_millis(millis.into()))
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u32::deserialize(deserializer).map(|seconds| Duration::from_secs(seconds.into()))
}

fn header_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeaderValue, D::Error> {
    let text = String::deserialize(deserializer)?;
    HeaderValue::from_str(&text)
        .map_err(|error| serde::de::Error::custom(format!("{text:?}: {error}")))
}
