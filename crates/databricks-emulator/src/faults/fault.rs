//! What can go wrong with a call, with a run, and with a connection.

use super::canned::CannedAnswer;
use crate::clock;
use axum::http::HeaderValue;
use serde::{Deserialize, Deserializer};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::{Duration, SystemTime};

/// What can go wrong with any call. As JSON `"drop_after"`, `{"cut_body": 10}` and so on; see the crate's documentation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// This answer comes, and the call has no effect.
    Answer(CannedAnswer),
    /// 429 comes, and the call has no effect.
    RateLimited(RetryAfter),
    /// 302 to this place comes, and the call has no effect.
    #[serde(deserialize_with = "header_value")]
    Redirect(HeaderValue),
    /// No answer comes, and the call has no effect. The connection is closed; of one of HTTP/2 only the stream is reset.
    DropBefore,
    /// The call has its effect, and no answer comes.
    DropAfter,
    /// The call has its effect this much later, also when its caller has gone by then, and then it is answered.
    #[serde(rename = "delay_before_ms", deserialize_with = "milliseconds")]
    DelayBefore(Duration),
    /// The call has its effect, and is answered this much later.
    #[serde(rename = "delay_after_ms", deserialize_with = "milliseconds")]
    DelayAfter(Duration),
    /// The body of the answer comes in pieces, with a pause before each.
    SlowBody(Dribble),
    /// The answer breaks off after so many bytes of its body. A body that is not longer is whole.
    CutBody(usize),
    /// The answer calls its body something else.
    #[serde(deserialize_with = "header_value")]
    ContentType(HeaderValue),
    /// The workspace's clock is wrong when it judges the token. It matters to
    /// [expiring tokens](crate::EmulatorBuilder::expiring_token) only.
    TokenClock(TokenClock),
}

/// What `Retry-After` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    /// There is no such header.
    Unsaid,
    /// So many seconds.
    Seconds(u32),
    /// The date in so many seconds, without the part of a second (RFC 9110 §5.6.7).
    DateIn(u32),
}

impl RetryAfter {
    pub(crate) fn header(self) -> Option<String> {
        match self {
            Self::Unsaid => None,
            Self::Seconds(seconds) => Some(seconds.to_string()),
            Self::DateIn(seconds) => {
                let at = SystemTime::now() + Duration::from_secs(seconds.into());
                Some(httpdate::fmt_http_date(at))
            }
        }
    }
}

/// How slowly a body comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dribble {
    /// Bytes in a piece.
    pub piece: NonZeroUsize,
    /// The wait before each.
    #[serde(rename = "pause_ms", deserialize_with = "milliseconds")]
    pub pause: Duration,
}

/// How wrong the clock is that judges tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenClock {
    /// Fast: a token expires this much too early.
    #[serde(rename = "ahead_seconds", deserialize_with = "seconds")]
    Ahead(Duration),
    /// Slow: a token is accepted this much too long.
    #[serde(rename = "behind_seconds", deserialize_with = "seconds")]
    Behind(Duration),
}

impl TokenClock {
    /// What it shows, as time since the epoch.
    pub(crate) fn now(skew: Option<Self>) -> Duration {
        match skew {
            None => clock::now(),
            Some(Self::Ahead(by)) => clock::now().saturating_add(by),
            Some(Self::Behind(by)) => clock::now().saturating_sub(by),
        }
    }
}

/// What can go wrong with a call about one run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunFault {
    /// What can go wrong with any call.
    Call(Fault),
    /// The run is forgotten before the call is looked at, as by [`Emulator::delete_run`](crate::Emulator::delete_run).
    /// As JSON `"run_deleted"`.
    Deleted,
    /// A read shows the run so many steps earlier than it is, or at its first one: an older state after a newer one. The
    /// run itself does not go back, and a cancel is not touched. As JSON `{"earlier_state": 1}`.
    Earlier(NonZeroU32),
}

impl From<Fault> for RunFault {
    fn from(fault: Fault) -> Self {
        Self::Call(fault)
    }
}

/// What can go wrong with a new connection for HTTPS, before any call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConnectionFault {
    /// It is closed without a word.
    Closed,
    /// Something answers that does not speak TLS.
    NotTls,
    /// The certificate is of an authority that nobody trusts.
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
