//! The rows of the matrix: each fault, and the expected outcome of each RPC.

use std::time::Duration;

use databricks_emulator::{
    CannedResponse, ConnectionFault, Fault, HeaderValue, RetryAfter, RunFault, SlowBody, TokenClock,
};

use super::case::{Repeat, Rpc};

/// A fault of the emulator.
#[derive(Debug, Clone)]
pub enum InjectedFault {
    Call(Fault),
    Run(RunFault),
    Connection(ConnectionFault),
}

/// A fault and its expected outcomes.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub fault: InjectedFault,
    outcomes: Outcomes,
}

/// The outcomes by RPC, if the fault occurs once and if it persists. Empty if the fault cannot occur in this RPC.
#[derive(Debug, Clone, Copy)]
struct Outcomes {
    create: [&'static str; 2],
    get: [&'static str; 2],
    delete: [&'static str; 2],
    logs: [&'static str; 2],
    metrics: [&'static str; 2],
}

impl Row {
    /// Returns the expected outcome, or `None` if the fault cannot occur in this RPC.
    pub fn expected(&self, rpc: Rpc, repeat: Repeat) -> Option<&'static str> {
        let [once, always] = match rpc {
            Rpc::Create => self.outcomes.create,
            Rpc::Get => self.outcomes.get,
            Rpc::Delete => self.outcomes.delete,
            Rpc::Logs => self.outcomes.logs,
            Rpc::Metrics => self.outcomes.metrics,
        };
        let outcome = match repeat {
            Repeat::Once => once,
            Repeat::Always => always,
        };
        Some(outcome).filter(|outcome| !outcome.is_empty())
    }
}

/// The run is RUNNING; the connector's last known phase is INITIALIZING.
const CURRENT: &str = "OK RUNNING";
const LAST_KNOWN: &str = "OK INITIALIZING";

/// The fault has no effect.
const UNAFFECTED: Outcomes = Outcomes {
    create: ["OK, 1 run"; 2],
    get: [CURRENT; 2],
    delete: ["OK, cancelled"; 2],
    logs: ["OK, complete"; 2],
    metrics: ["OK"; 2],
};

/// Transient: retried within the deadline; GetTask never returns an error.
const TRANSIENT: Outcomes = Outcomes {
    create: ["OK, 1 run", "UNAVAILABLE, 0 runs"],
    get: [CURRENT, LAST_KNOWN],
    delete: ["OK, cancelled", "UNAVAILABLE, active"],
    logs: ["OK, complete", "OK, more later"],
    metrics: ["OK", "UNAVAILABLE"],
};

/// Transient, after the call took effect: the idempotency token keeps repeated submissions at one run.
const TRANSIENT_AFTER_EFFECT: Outcomes = Outcomes {
    create: ["OK, 1 run", "UNAVAILABLE, 1 run"],
    delete: ["OK, cancelled", "UNAVAILABLE, cancelled"],
    ..TRANSIENT
};

/// The workspace does not respond in time.
const TIMEOUT: Outcomes = Outcomes {
    create: ["OK, 1 run", "DEADLINE_EXCEEDED, 1 run"],
    get: [CURRENT, LAST_KNOWN],
    delete: ["OK, cancelled", "DEADLINE_EXCEEDED, cancelled"],
    logs: ["OK, complete", "OK, more later"],
    metrics: ["OK", "DEADLINE_EXCEEDED"],
};

const RATE_LIMITED: Outcomes = Outcomes {
    create: ["OK, 1 run", "RESOURCE_EXHAUSTED, 0 runs"],
    get: [CURRENT, LAST_KNOWN],
    delete: ["OK, cancelled", "RESOURCE_EXHAUSTED, active"],
    logs: ["OK, complete", "OK, more later"],
    metrics: ["OK", "RESOURCE_EXHAUSTED"],
};

/// Rejected credentials: not retried. The task fails only after the grace period, with FAILED.
const UNAUTHENTICATED: Outcomes = Outcomes {
    create: ["UNAUTHENTICATED, 0 runs"; 2],
    get: [LAST_KNOWN, "OK INITIALIZING, later OK FAILED"],
    delete: ["UNAUTHENTICATED, active", "UNAUTHENTICATED, active, later OK, active"],
    logs: ["OK, complete", "UNAUTHENTICATED"],
    metrics: ["UNAUTHENTICATED"; 2],
};

const FORBIDDEN: Outcomes = Outcomes {
    create: ["PERMISSION_DENIED, 0 runs"; 2],
    get: [LAST_KNOWN, "OK INITIALIZING, later OK FAILED"],
    delete: ["PERMISSION_DENIED, active", "PERMISSION_DENIED, active, later OK, active"],
    logs: ["OK, complete", "PERMISSION_DENIED"],
    metrics: ["PERMISSION_DENIED"; 2],
};

/// An unusable response that is not retried.
const INVALID_RESPONSE: Outcomes = Outcomes {
    create: ["UNAVAILABLE, 0 runs"; 2],
    get: [LAST_KNOWN; 2],
    delete: ["UNAVAILABLE, active"; 2],
    logs: ["OK, complete", "OK, more later"],
    metrics: ["UNAVAILABLE"; 2],
};

/// Rejected with this code, and not retried.
macro_rules! rejected {
    ($code:literal) => {
        Outcomes {
            create: [concat!($code, ", 0 runs"); 2],
            get: [LAST_KNOWN; 2],
            delete: [concat!($code, ", active"); 2],
            logs: ["OK, complete", $code],
            metrics: [$code; 2],
        }
    };
}

/// Longer than the first attempt of a call with a timeout of 5 s, and than any call with 2 s.
const DELAY: Duration = Duration::from_secs(3);

/// Lifetime of the task's token.
pub const TOKEN_LIFETIME: Duration = Duration::from_hours(1);

/// Returns all rows.
pub fn rows() -> Vec<Row> {
    let mut rows = responses();
    rows.extend(transport());
    rows.extend(connections_and_states());
    rows
}

fn row(name: &'static str, fault: InjectedFault, outcomes: Outcomes) -> Row {
    Row { name, fault, outcomes }
}

fn json(status: u16, body: &str) -> InjectedFault {
    InjectedFault::Call(Fault::Answer(CannedResponse::json(status, body)))
}

fn html(status: u16, body: &str) -> InjectedFault {
    InjectedFault::Call(Fault::Answer(CannedResponse::html(status, body)))
}

fn redirect(location: &'static str) -> InjectedFault {
    InjectedFault::Call(Fault::Redirect(HeaderValue::from_static(location)))
}

fn rate_limited(retry_after: RetryAfter) -> InjectedFault {
    InjectedFault::Call(Fault::RateLimited(retry_after))
}

fn responses() -> Vec<Row> {
    vec![
        row(
            "400 `INVALID_PARAMETER_VALUE`",
            json(400, r#"{"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}"#),
            Outcomes {
                // The read of a run has no other parameter than the run.
                get: [LAST_KNOWN, "OK INITIALIZING, later OK RETRYABLE_FAILED"],
                metrics: ["NOT_FOUND"; 2],
                // A rejected task output does not hide those of other tasks.
                logs: ["OK, without output"; 2],
                ..rejected!("INVALID_ARGUMENT")
            },
        ),
        row(
            "400 `Unknown worker environment`",
            json(400, r#"{"message": "Unknown worker environment x"}"#),
            TRANSIENT,
        ),
        row(
            "401",
            json(401, r#"{"error_code": "UNAUTHENTICATED", "message": "no"}"#),
            UNAUTHENTICATED,
        ),
        row("403", json(403, r#"{"error_code": "PERMISSION_DENIED", "message": "no"}"#), FORBIDDEN),
        row(
            "404 from a gateway",
            html(404, "<html><body>not here</body></html>"),
            // The workspace may be gone for good.
            Outcomes {
                get: [LAST_KNOWN, "OK INITIALIZING, later OK FAILED"],
                delete: ["NOT_FOUND, active", "NOT_FOUND, active, later OK, active"],
                ..rejected!("NOT_FOUND")
            },
        ),
        row(
            "409",
            json(409, r#"{"error_code": "ABORTED", "message": "no"}"#),
            rejected!("FAILED_PRECONDITION"),
        ),
        row("429, without `Retry-After`", rate_limited(RetryAfter::Absent), RATE_LIMITED),
        row("429, `Retry-After` in seconds", rate_limited(RetryAfter::Seconds(1)), RATE_LIMITED),
        row("429, `Retry-After` as a date", rate_limited(RetryAfter::DateIn(2)), RATE_LIMITED),
        row("500", json(500, r#"{"error_code": "INTERNAL_ERROR", "message": "oops"}"#), TRANSIENT),
        row(
            "501",
            json(501, r#"{"error_code": "NOT_IMPLEMENTED", "message": "no"}"#),
            Outcomes { logs: ["OK, complete", "UNAVAILABLE"], ..INVALID_RESPONSE },
        ),
        row("502 with an HTML page", html(502, "<html><body>bad gateway</body></html>"), TRANSIENT),
        row(
            "503",
            json(503, r#"{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "later"}"#),
            TRANSIENT,
        ),
        row(
            "504 with an HTML page",
            html(504, "<html><body>gateway timeout</body></html>"),
            TRANSIENT,
        ),
        row(
            "200 with unexpected JSON",
            json(200, "[]"),
            // Any 2xx counts as an accepted cancel.
            Outcomes { delete: ["OK, active"; 2], ..INVALID_RESPONSE },
        ),
        row("200 with truncated JSON", json(200, r#"{"run_id": "#), TRANSIENT),
        row(
            "200 with a login page",
            html(200, "<html><body>sign in</body></html>"),
            UNAUTHENTICATED,
        ),
        row("redirect to a login page", redirect("/login.html"), UNAUTHENTICATED),
        row("redirect to another host", redirect("https://elsewhere.example/"), INVALID_RESPONSE),
        row(
            "correct response labelled `text/html`",
            InjectedFault::Call(Fault::ContentType(HeaderValue::from_static("text/html"))),
            UNAFFECTED,
        ),
    ]
}

fn transport() -> Vec<Row> {
    let slow_body =
        SlowBody { piece: std::num::NonZeroUsize::MIN, pause: Duration::from_millis(1500) };
    vec![
        row(
            "connection closed before the effect",
            InjectedFault::Call(Fault::DropBefore),
            TRANSIENT,
        ),
        row(
            "connection closed after the effect",
            InjectedFault::Call(Fault::DropAfter),
            TRANSIENT_AFTER_EFFECT,
        ),
        row(
            "truncated response body",
            InjectedFault::Call(Fault::CutBody(1)),
            TRANSIENT_AFTER_EFFECT,
        ),
        row(
            "effect and response too late",
            InjectedFault::Call(Fault::DelayBefore(DELAY)),
            TIMEOUT,
        ),
        row("response too late", InjectedFault::Call(Fault::DelayAfter(DELAY)), TIMEOUT),
        row("slow response body", InjectedFault::Call(Fault::SlowBody(slow_body)), TIMEOUT),
    ]
}

fn connections_and_states() -> Vec<Row> {
    let hours = Duration::from_hours(2);
    vec![
        row(
            "TLS: connection closed",
            InjectedFault::Connection(ConnectionFault::Closed),
            TRANSIENT,
        ),
        row("TLS: plaintext server", InjectedFault::Connection(ConnectionFault::NotTls), TRANSIENT),
        row(
            "TLS: untrusted certificate",
            InjectedFault::Connection(ConnectionFault::UntrustedCertificate),
            TRANSIENT,
        ),
        row(
            "TLS: expired certificate",
            InjectedFault::Connection(ConnectionFault::ExpiredCertificate),
            TRANSIENT,
        ),
        row(
            "workspace clock ahead: token has expired",
            InjectedFault::Call(Fault::TokenClock(TokenClock::Ahead(hours))),
            UNAUTHENTICATED,
        ),
        // The workspace accepts no token in its last 30 s.
        row(
            "workspace clock ahead: token expires in 20 s",
            InjectedFault::Call(Fault::TokenClock(TokenClock::Ahead(
                TOKEN_LIFETIME.saturating_sub(Duration::from_secs(20)),
            ))),
            FORBIDDEN,
        ),
        row(
            "workspace clock behind: expired token is accepted",
            InjectedFault::Call(Fault::TokenClock(TokenClock::Behind(hours))),
            UNAFFECTED,
        ),
        row(
            "run deleted",
            InjectedFault::Run(RunFault::Deleted),
            Outcomes {
                create: [""; 2],
                get: [LAST_KNOWN, "OK INITIALIZING, later OK RETRYABLE_FAILED"],
                delete: ["OK, no run"; 2],
                logs: ["OK, without output"; 2],
                metrics: ["NOT_FOUND"; 2],
            },
        ),
        // The older phase is returned: Flyte accepts phases that go back (flyte-contract.md#gettask).
        row(
            "older run state after a newer one",
            InjectedFault::Run(RunFault::EarlierState(std::num::NonZeroU32::MIN)),
            Outcomes {
                create: [""; 2],
                get: [LAST_KNOWN; 2],
                delete: [""; 2],
                logs: ["OK, without output"; 2],
                metrics: ["OK"; 2],
            },
        ),
    ]
}
