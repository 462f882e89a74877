//! The Jobs API: runs.

#[cfg(test)]
mod damaged_fields;
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
pub use run::{ClusterInstance, IterationError, MissingTasks, Run, RunTask, TaskDependency};
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
    api::{json::Bounds, pages::pages},
    http::request::{Endpoint, Request},
};

/// The largest number of pages of one run that are read. A page has 100 tasks or attempts (databricks-api.md#runs-get).
const MAX_RUN_PAGES: usize = 100;

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
        Ok(self.call::<Submitted>(&request).await?.0)
    }

    /// Returns a run with all its tasks: [`Self::get_run_state`] and [`Self::complete_run`].
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). `RunNotFound` if the workspace reports that the run does not exist.
    pub async fn get_run(&self, run_id: RunId) -> Result<Run, Error> {
        let mut run = self.get_run_state(run_id).await?;
        self.complete_run(run_id, &mut run).await;
        Ok(run)
    }

    /// Returns a run with the first page of its tasks, which version 2.2 limits to 100 (databricks-api.md#runs-get).
    ///
    /// # Errors
    ///
    /// As [`Self::get_run`].
    pub async fn get_run_state(&self, run_id: RunId) -> Result<Run, Error> {
        let query = [("run_id", run_id.to_string())];
        Ok(self.call_within(&run_request(&query), Bounds::RUN).await?.0)
    }

    /// Adds the other pages of tasks. Sets [`Run::missing_tasks`] if they cannot be read, or if there are too many.
    pub async fn complete_run(&self, run_id: RunId, run: &mut Run) {
        // The first page is not counted in bytes: it has at most as many tasks as all pages.
        let mut bounds = Bounds::RUN;
        bounds.tasks = bounds.tasks.saturating_sub(run.tasks.len() + run.iterations.len());
        let mut query = vec![("run_id", run_id.to_string())];
        for _ in 1..MAX_RUN_PAGES {
            let next = run.next_page_token.take().filter(|token| !token.is_empty());
            let Some(token) = next.filter(|_| run.missing_tasks.is_none()) else { return };
            query.truncate(1);
            query.push(("page_token", token));
            let page: Run = match self.call_within(&run_request(&query), bounds).await {
                Ok((page, left)) => {
                    bounds = left;
                    page
                }
                Err(error) => {
                    run.missing_tasks = Some(MissingTasks::Unreadable {
                        error: error.to_string(),
                        is_transient: error.is_retryable(),
                    });
                    return;
                }
            };
            run.iterations.extend(page.iterations);
            // A for-each run has pages of iterations, and repeats its only task on each (databricks-api.md#runs-get).
            if run.iterations.is_empty() {
                run.tasks.extend(page.tasks);
            }
            run.next_page_token = page.next_page_token;
            if page.missing_tasks.is_some() {
                run.drop_tasks();
            }
        }
        if run.next_page_token.as_ref().is_some_and(|token| !token.is_empty()) {
            run.drop_tasks();
        }
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
                client.call_within(&run_request(&query), Bounds::RUN).await.map(|(page, _)| page)
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

/// Returns the request for a run or one of its pages, by the query. The first page has no other parameter than the run.
fn run_request<'a>(query: &'a [(&'static str, String)]) -> Request<'a> {
    let request = Request::get(Endpoint::Jobs("runs/get"), query);
    if query.len() == 1 { request.reads_run() } else { request.for_run() }
}
