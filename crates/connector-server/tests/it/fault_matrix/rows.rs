//! The matrix: what is expected, and why, in the words of the page.

use std::time::Duration;

use databricks_emulator::{
    CannedResponse, ConnectionFault, Fault, HeaderValue, RetryAfter, RunFault, SlowBody, TokenClock,
};

use super::cell::{Lasts, Verb};

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Strike {
    Call(Fault),
    Run(RunFault),
    Connection(ConnectionFault),
}

/// One fault and what it comes to.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub strike: Strike,
    outcomes: Outcomes,
}

/// Outcomes by verb, as once and lasting. Empty: the fault cannot happen to this call.
#[derive(Debug, Clone, Copy)]
struct Outcomes {
    create: [&'static str; 2],
    get: [&'static str; 2],
    delete: [&'static str; 2],
    logs: [&'static str; 2],
    metrics: [&'static str; 2],
}

impl Row {
    /// The outcome that is expected; none where the fault cannot happen.
    pub fn expected(&self, verb: Verb, lasts: Lasts) -> Option<&'static str> {
        let [once, lasting] = match verb {
            Verb::Create => self.outcomes.create,
            Verb::Get => self.outcomes.get,
            Verb::Delete => self.outcomes.delete,
            Verb::Logs => self.outcomes.logs,
            Verb::Metrics => self.outcomes.metrics,
        };
        let outcome = match lasts {
            Lasts::Once => once,
            Lasts::Forever => lasting,
        };
        Some(outcome).filter(|outcome| !outcome.is_empty())
    }
}

/// The truth of the run is RUNNING, and the last that this process saw of it INITIALIZING.
const TRUTH: &str = "OK RUNNING";
const LAST_KNOWN: &str = "OK INITIALIZING";

/// Nothing is noticed.
const FINE: Outcomes = Outcomes {
    create: ["OK, 1 run"; 2],
    get: [TRUTH; 2],
    delete: ["OK, cancelled"; 2],
    logs: ["OK, whole"; 2],
    metrics: ["OK"; 2],
};

/// What passes is tried again within the caller's time; a poll never tells of it as an error.
const PASSES: Outcomes = Outcomes {
    create: ["OK, 1 run", "UNAVAILABLE, 0 runs"],
    get: [TRUTH, LAST_KNOWN],
    delete: ["OK, cancelled", "UNAVAILABLE, alive"],
    logs: ["OK, whole", "OK, more later"],
    metrics: ["OK", "UNAVAILABLE"],
};

/// The same where the call had its effect: the token keeps a submission at one run, however often it is repeated.
const EFFECTIVE: Outcomes = Outcomes {
    create: ["OK, 1 run", "UNAVAILABLE, 1 run"],
    delete: ["OK, cancelled", "UNAVAILABLE, cancelled"],
    ..PASSES
};

/// The same where the workspace does not answer in time.
const TOO_SLOW: Outcomes = Outcomes {
    create: ["OK, 1 run", "DEADLINE_EXCEEDED, 1 run"],
    get: [TRUTH, LAST_KNOWN],
    delete: ["OK, cancelled", "DEADLINE_EXCEEDED, cancelled"],
    logs: ["OK, whole", "OK, more later"],
    metrics: ["OK", "DEADLINE_EXCEEDED"],
};

const LIMITED: Outcomes = Outcomes {
    create: ["OK, 1 run", "RESOURCE_EXHAUSTED, 0 runs"],
    get: [TRUTH, LAST_KNOWN],
    delete: ["OK, cancelled", "RESOURCE_EXHAUSTED, alive"],
    logs: ["OK, whole", "OK, more later"],
    metrics: ["OK", "RESOURCE_EXHAUSTED"],
};

/// Refused credentials: not tried again, an end of the task only when they last, and FAILED then.
const NOT_SIGNED_IN: Outcomes = Outcomes {
    create: ["UNAUTHENTICATED, 0 runs"; 2],
    get: [LAST_KNOWN, "OK INITIALIZING, later OK FAILED"],
    delete: ["UNAUTHENTICATED, alive", "UNAUTHENTICATED, alive, later OK, alive"],
    logs: ["OK, whole", "UNAUTHENTICATED"],
    metrics: ["UNAUTHENTICATED"; 2],
};

const FORBIDDEN: Outcomes = Outcomes {
    create: ["PERMISSION_DENIED, 0 runs"; 2],
    get: [LAST_KNOWN, "OK INITIALIZING, later OK FAILED"],
    delete: ["PERMISSION_DENIED, alive", "PERMISSION_DENIED, alive, later OK, alive"],
    logs: ["OK, whole", "PERMISSION_DENIED"],
    metrics: ["PERMISSION_DENIED"; 2],
};

/// An answer that is none, and is not tried again.
const STRANGE: Outcomes = Outcomes {
    create: ["UNAVAILABLE, 0 runs"; 2],
    get: [LAST_KNOWN; 2],
    delete: ["UNAVAILABLE, alive"; 2],
    logs: ["OK, whole", "OK, more later"],
    metrics: ["UNAVAILABLE"; 2],
};

/// Refused as this code, and not tried again.
macro_rules! refused {
    ($code:literal) => {
        Outcomes {
            create: [concat!($code, ", 0 runs"); 2],
            get: [LAST_KNOWN; 2],
            delete: [concat!($code, ", alive"); 2],
            logs: ["OK, whole", $code],
            metrics: [$code; 2],
        }
    };
}

/// Longer than the first try of a call that has 5 s, and than any call that has 2 s.
const TOO_LATE: Duration = Duration::from_secs(3);

/// How long the token lives that a cell works with.
pub const TOKEN_LIFE: Duration = Duration::from_hours(1);

/// Every fault, with what it comes to.
pub fn rows() -> Vec<Row> {
    let mut rows = answers();
    rows.extend(transport());
    rows.extend(connections_and_states());
    rows
}

fn row(name: &'static str, strike: Strike, outcomes: Outcomes) -> Row {
    Row { name, strike, outcomes }
}

fn json(status: u16, body: &str) -> Strike {
    Strike::Call(Fault::Answer(CannedResponse::json(status, body)))
}

fn html(status: u16, body: &str) -> Strike {
    Strike::Call(Fault::Answer(CannedResponse::html(status, body)))
}

fn redirect(place: &'static str) -> Strike {
    Strike::Call(Fault::Redirect(HeaderValue::from_static(place)))
}

fn limited(retry_after: RetryAfter) -> Strike {
    Strike::Call(Fault::RateLimited(retry_after))
}

fn answers() -> Vec<Row> {
    vec![
        row(
            "400 `INVALID_PARAMETER_VALUE`",
            json(400, r#"{"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}"#),
            // A task whose output is refused does not keep back the others'.
            Outcomes { logs: ["OK, without output"; 2], ..refused!("INVALID_ARGUMENT") },
        ),
        row(
            "400 `Unknown worker environment`",
            json(400, r#"{"message": "Unknown worker environment x"}"#),
            PASSES,
        ),
        row(
            "401",
            json(401, r#"{"error_code": "UNAUTHENTICATED", "message": "no"}"#),
            NOT_SIGNED_IN,
        ),
        row("403", json(403, r#"{"error_code": "PERMISSION_DENIED", "message": "no"}"#), FORBIDDEN),
        row(
            "404 of a gateway",
            html(404, "<html><body>not here</body></html>"),
            refused!("NOT_FOUND"),
        ),
        row(
            "409",
            json(409, r#"{"error_code": "ABORTED", "message": "no"}"#),
            refused!("FAILED_PRECONDITION"),
        ),
        row("429, without `Retry-After`", limited(RetryAfter::Absent), LIMITED),
        row("429, `Retry-After` in seconds", limited(RetryAfter::Seconds(1)), LIMITED),
        row("429, `Retry-After` as a date", limited(RetryAfter::DateIn(2)), LIMITED),
        row("500", json(500, r#"{"error_code": "INTERNAL_ERROR", "message": "oops"}"#), PASSES),
        row(
            "501",
            json(501, r#"{"error_code": "NOT_IMPLEMENTED", "message": "no"}"#),
            Outcomes { logs: ["OK, whole", "UNAVAILABLE"], ..STRANGE },
        ),
        row("502 with a page", html(502, "<html><body>bad gateway</body></html>"), PASSES),
        row(
            "503",
            json(503, r#"{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "later"}"#),
            PASSES,
        ),
        row("504 with a page", html(504, "<html><body>gateway timeout</body></html>"), PASSES),
        row(
            "200 that is other JSON",
            json(200, "[]"),
            // Whatever a 2xx says, the cancel was accepted.
            Outcomes { delete: ["OK, alive"; 2], ..STRANGE },
        ),
        row(
            "200 that breaks off, and looks whole to HTTP",
            json(200, r#"{"run_id": "#),
            // Likewise.
            Outcomes { ..PASSES },
        ),
        row("200 with a login page", html(200, "<html><body>sign in</body></html>"), NOT_SIGNED_IN),
        row("redirect to a login page", redirect("/login.html"), NOT_SIGNED_IN),
        row("redirect to elsewhere", redirect("https://elsewhere.example/"), STRANGE),
        row(
            "the true answer, called HTML",
            Strike::Call(Fault::ContentType(HeaderValue::from_static("text/html"))),
            FINE,
        ),
    ]
}

fn transport() -> Vec<Row> {
    let dribble =
        SlowBody { piece: std::num::NonZeroUsize::MIN, pause: Duration::from_millis(1500) };
    vec![
        row("connection dropped before the effect", Strike::Call(Fault::DropBefore), PASSES),
        row("connection dropped after the effect", Strike::Call(Fault::DropAfter), EFFECTIVE),
        row("answer cut in its body", Strike::Call(Fault::CutBody(1)), EFFECTIVE),
        row("effect and answer too late", Strike::Call(Fault::DelayBefore(TOO_LATE)), TOO_SLOW),
        row("answer too late", Strike::Call(Fault::DelayAfter(TOO_LATE)), TOO_SLOW),
        row("body that dribbles", Strike::Call(Fault::SlowBody(dribble)), TOO_SLOW),
    ]
}

fn connections_and_states() -> Vec<Row> {
    let hours = Duration::from_hours(2);
    vec![
        row("TLS: connection closed", Strike::Connection(ConnectionFault::Closed), PASSES),
        row("TLS: no TLS spoken", Strike::Connection(ConnectionFault::NotTls), PASSES),
        row(
            "TLS: untrusted certificate",
            Strike::Connection(ConnectionFault::UntrustedCertificate),
            PASSES,
        ),
        row(
            "TLS: expired certificate",
            Strike::Connection(ConnectionFault::ExpiredCertificate),
            PASSES,
        ),
        row(
            "token expired too early",
            Strike::Call(Fault::TokenClock(TokenClock::Ahead(hours))),
            NOT_SIGNED_IN,
        ),
        // The workspace takes no token in its last 30 s.
        row(
            "token about to expire too early",
            Strike::Call(Fault::TokenClock(TokenClock::Ahead(
                TOKEN_LIFE.saturating_sub(Duration::from_secs(20)),
            ))),
            FORBIDDEN,
        ),
        row(
            "token accepted too long",
            Strike::Call(Fault::TokenClock(TokenClock::Behind(hours))),
            FINE,
        ),
        row(
            "run deleted",
            Strike::Run(RunFault::Deleted),
            Outcomes {
                create: [""; 2],
                get: [LAST_KNOWN, "OK INITIALIZING, later OK RETRYABLE_FAILED"],
                delete: ["OK, no run"; 2],
                logs: ["OK, without output"; 2],
                metrics: ["NOT_FOUND"; 2],
            },
        ),
        // What Databricks says is told: Flyte lets phases go back (FC §1.5), and nothing is decided by it.
        row(
            "older state after a newer one",
            Strike::Run(RunFault::EarlierState(std::num::NonZeroU32::MIN)),
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
