//! What the server's log line of a call says of Databricks: the workspace, the run, and how many requests it took.

use std::cell::Cell;

use databricks_client::{Host, RunId};
use tracing::Span;

tokio::task_local! {
    /// The requests of the call that this task works on.
    static REQUESTS: Cell<u32>;
}

/// Notes in the span of the call how many requests the work sends, also when it is dropped before its end.
pub(crate) async fn counting<T>(work: impl Future<Output = T>) -> T {
    let counted = async {
        let _note = Note(Span::current());
        work.await
    };
    // On the heap: every future of a caller would carry it otherwise.
    Box::pin(REQUESTS.scope(Cell::new(0), counted)).await
}

/// A request was sent. Those that are sent for nobody in particular belong to no call.
pub(crate) fn one_more_request() {
    // An error says that no call is worked on here.
    let _outside = REQUESTS.try_with(|requests| requests.set(requests.get().saturating_add(1)));
}

/// Notes the workspace.
pub(crate) fn workspace(host: &Host) {
    Span::current().record("workspace", host.as_str());
}

/// Notes the run.
pub(crate) fn run(run_id: RunId) {
    Span::current().record("run_id", tracing::field::display(run_id));
}

struct Note(Span);

impl Drop for Note {
    fn drop(&mut self) {
        let _outside = REQUESTS.try_with(|requests| self.0.record("attempts", requests.get()));
    }
}
