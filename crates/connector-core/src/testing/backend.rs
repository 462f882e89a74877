//! The service behind a connector, as a test controls it.

use std::time::Duration;

use crate::{Connector, CreateContext};

/// A fault of the service, in force until it is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Connections are refused or closed before the request is read.
    Unreachable,
    /// Every call is answered with an error of the service, such as HTTP 503.
    ServerError,
    /// Every call is answered with "too many requests", such as HTTP 429.
    RateLimited,
    /// Every call succeeds with a body that is not what the API promises.
    MalformedAnswer,
    /// Every call is rejected because of its credential, such as HTTP 401.
    CredentialRejected,
    /// The call takes effect, and its answer never arrives.
    LostAnswer,
    /// The service takes the request and does not answer.
    Hang,
}

impl Fault {
    /// The faults of a single call. [`Self::Unreachable`] and the others affect all calls.
    pub(super) const OF_A_CALL: [Self; 4] =
        [Self::ServerError, Self::MalformedAnswer, Self::LostAnswer, Self::Hang];

    /// The faults that may pass: none of them says anything about the job.
    pub const TRANSIENT: [Self; 7] = [
        Self::Unreachable,
        Self::ServerError,
        Self::RateLimited,
        Self::MalformedAnswer,
        Self::CredentialRejected,
        Self::LostAnswer,
        Self::Hang,
    ];
}

/// The calls that a fault affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultyCalls {
    /// Every call.
    All,
    /// The call that starts a job. All others succeed. A connector that searches before it starts a job gets no further
    /// than the search when that fails too.
    Start,
}

/// How a job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobEnd {
    /// The job did its work.
    Success,
    /// The job failed.
    Failure,
}

/// The service behind a connector, and the connector under test.
///
/// Use the real client against a test server of the service: a mock inside the connector hides what the harness is for.
pub trait Backend: Sync {
    /// The connector under test.
    type Connector: Connector;

    /// Returns a connector without memory of earlier calls. Each call is one more replica of the server.
    fn connector(&self) -> Self::Connector;

    /// Returns a request that starts one job, with its credentials. The harness sets run, attempt, output prefix and deadline.
    fn request(&self) -> CreateContext;

    /// Puts a fault in force for these calls, or heals the service.
    fn set_fault(&self, fault: Option<Fault>, calls: FaultyCalls);

    /// Ends every active job.
    fn end_jobs(&self, end: JobEnd);

    /// Forgets every job, as a service does after its retention period.
    fn forget_jobs(&self);

    /// Returns the number of jobs ever started.
    fn started(&self) -> usize;

    /// Returns the number of jobs that have not ended.
    fn active(&self) -> usize;

    /// Returns the secret values that no answer, error or resource meta may contain.
    fn secrets(&self) -> Vec<String>;

    /// Returns how long a call under a fault may take. The default, 10 s, is what Flyte allows. A connector that repeats
    /// failed requests until the deadline is tested faster with a shorter one.
    fn timeout_under_fault(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// True if the test server can play this fault.
    fn supports(&self, _fault: Fault) -> bool {
        true
    }
}
