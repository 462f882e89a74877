//! The Jobs API: runs.

mod list;
mod outcome;
mod output;
mod progress;
mod run;
mod sql_output;
mod state;
mod submit;
mod wait;

pub use list::{ListRuns, RunsPage};
pub use outcome::Outcome;
pub use output::{AlertOutput, NotebookOutput, RunJobOutput, RunOutput};
pub use progress::{Progress, ReportedState};
pub use run::{ClusterInstance, Run, RunTask, TaskDependency};
pub use sql_output::{
    SqlColumn, SqlDashboardOutput, SqlFileOutput, SqlOutput, SqlQueryOutput, SqlQueryResult,
    SqlRow, SqlValue, SqlWidgetOutput,
};
pub use state::{
    LifeCycleState, LifecycleStateV2, QueueCode, QueueDetails, ResultState, RunState, RunStatus,
    TerminationCode, TerminationDetails, TerminationType,
};
pub use submit::Submission;
pub use wait::WaitForEnd;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use submit::Submitted;

use crate::{
    Client, Error, RunId,
    api::pages::pages,
    http::request::{Endpoint, Request},
};

/// The largest number of pages of one run that are read. A page has 100 tasks, and a run has at most 1,000
/// (databricks-api.md#runs-submit).
const MAX_RUN_PAGES: usize = 20;

impl Client {
    /// Submits a run and returns its id. Retried if it has an idempotency token, since a resend then returns the same
    /// run; otherwise sent once.
    pub async fn submit_run(&self, run: &Submission) -> Result<RunId, Error> {
        self.start_run("runs/submit", run).await
    }

    /// Starts a run of an existing job and returns the id of the run. Retried like a submission.
    pub async fn run_now(&self, run: &Submission) -> Result<RunId, Error> {
        self.start_run("run-now", run).await
    }

    async fn start_run(&self, endpoint: &'static str, run: &Submission) -> Result<RunId, Error> {
        let request = Request::post(Endpoint::Jobs(endpoint), run)?
            .idempotent(run.idempotency_token().is_some());
        Ok(self.call::<Submitted>(&request).await?.run_id)
    }

    /// Returns a run with all its tasks. Version 2.2 returns 100 tasks per page (databricks-api.md#runs-get). If there
    /// are more pages than a run can have, [`Run::next_page_token`] is set.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). `RunNotFound` if the workspace reports that the run does not exist.
    pub async fn get_run(&self, run_id: RunId) -> Result<Run, Error> {
        let mut pages = self.run_pages(run_id);
        let first = pages.try_next().await?.unwrap_or_default();
        run::join(first, pages).await
    }

    /// Returns the pages of a run, each with the run and 100 of its tasks or iterations, as they are read. Ends at the
    /// first error, and after more pages than a run can have.
    pub fn run_pages(
        &self,
        run_id: RunId,
    ) -> impl Stream<Item = Result<Run, Error>> + Send + Unpin + use<> {
        let client = self.clone();
        let read = move |token: Option<String>| {
            let client = client.clone();
            async move {
                let mut query = vec![("run_id", run_id.to_string())];
                query.extend(token.map(|token| ("page_token", token)));
                client.call(&Request::get(Endpoint::Jobs("runs/get"), &query).for_run()).await
            }
        };
        Box::pin(pages(None, read).take(MAX_RUN_PAGES))
    }

    /// Returns the output of a task run. Databricks rejects the id of a whole run (databricks-api.md#runs-get-output).
    pub async fn get_run_output(&self, task_run_id: RunId) -> Result<RunOutput, Error> {
        let query = [("run_id", task_run_id.to_string())];
        self.call(&Request::get(Endpoint::Jobs("runs/get-output"), &query).for_run()).await
    }

    /// Requests the cancellation of a run, which ends some time later (databricks-api.md#cancel).
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). `RunNotFound` if the workspace reports that the run does not exist.
    pub async fn cancel_run(&self, run_id: RunId) -> Result<(), Error> {
        let body = serde_json::json!({ "run_id": run_id });
        let request = Request::post(Endpoint::Jobs("runs/cancel"), &body)?;
        // The response is empty or `{}` (databricks-api.md#common-rules).
        self.call_bytes(&request.idempotent(true).for_run()).await.map(drop)
    }

    /// Returns one page of runs, the latest first.
    pub async fn list_runs(&self, list: &ListRuns) -> Result<RunsPage, Error> {
        self.call(&Request::get(Endpoint::Jobs("runs/list"), &list.query())).await
    }

    /// Returns the runs of all pages, the latest first. A page is read when its first run is asked for. Ends at the first
    /// error.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use databricks_client::{Client, Error, jobs::{ListRuns, Run}};
    /// use futures_util::{StreamExt, TryStreamExt};
    ///
    /// async fn active(client: &Client) -> Result<Vec<Run>, Error> {
    ///     let filter = ListRuns { active_only: true, ..ListRuns::default() };
    ///     client.runs(filter).take(1_000).try_collect().await
    /// }
    /// ```
    pub fn runs(
        &self,
        list: ListRuns,
    ) -> impl Stream<Item = Result<Run, Error>> + Send + Unpin + use<> {
        let client = self.clone();
        let first = list.page_token.clone();
        let read = move |page_token: Option<String>| {
            let (client, list) = (client.clone(), ListRuns { page_token, ..list.clone() });
            async move { client.list_runs(&list).await }
        };
        Box::pin(
            pages(first, read)
                .map_ok(|page: RunsPage| stream::iter(page.runs.into_iter().map(Ok)))
                .try_flatten(),
        )
    }
}
