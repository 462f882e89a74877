//! Fields of the server's log line for a call: workspace, run, and the number of requests to Databricks.

use std::cell::Cell;

use databricks_client::{Host, RunId};
use tracing::Span;

tokio::task_local! {
    /// The requests of the call that runs in this task.
    static REQUESTS: Cell<u32>;
}

/// Records the number of requests that `work` sends in the span of the call, even if `work` is dropped.
pub(crate) async fn counting<T>(work: impl Future<Output = T>) -> T {
    let counted = async {
        let _recorder = Recorder(Span::current());
        work.await
    };
    // Boxed: otherwise it would enlarge the future of every caller.
    Box::pin(REQUESTS.scope(Cell::new(0), counted)).await
}

/// Counts a request. Requests outside of a call are not counted.
pub(crate) fn count_request() {
    // An error means that this task runs no call.
    let _outside = REQUESTS.try_with(|requests| requests.set(requests.get().saturating_add(1)));
}

/// Records the workspace.
pub(crate) fn workspace(host: &Host) {
    Span::current().record("workspace", host.as_str());
}

/// Records the run.
pub(crate) fn run(run_id: RunId) {
    Span::current().record("run_id", tracing::field::display(run_id));
}

struct Recorder(Span);

impl Drop for Recorder {
    fn drop(&mut self) {
        let _outside = REQUESTS.try_with(|requests| self.0.record("requests", requests.get()));
    }
}
