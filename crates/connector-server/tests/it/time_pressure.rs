//! Creations whose callers have little time, against a workspace that responds late.

use std::time::Duration;

use databricks_emulator::{CannedResponse, Endpoint};
use flyteidl2::connector::{CreateTaskRequest, CreateTaskResponse};
use tokio::task::JoinHandle;
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;

use crate::{
    eventually::until, fixtures::create_request_for, paused_workspace::PausedWorkspace,
    process::ServerProcess,
};

const TOKEN: &str = "dapi-DATABRICKS_TOKEN";

fn start(workspace: &PausedWorkspace, flags: &str) -> ServerProcess {
    let variables = [
        ("FLYTE_DATABRICKS_ALLOWED_HOSTS", "127.0.0.1:*"),
        ("FLYTE_DATABRICKS_INSTANCE", &workspace.host),
        ("FLYTE_DATABRICKS_ACCESS_TOKEN", TOKEN),
    ];
    ServerProcess::start(flags, &variables)
}

fn request(workspace: &PausedWorkspace, timeout: Duration) -> Request<CreateTaskRequest> {
    let request = create_request_for("40_executor_first_attempt", &workspace.host);
    let mut request = Request::new(request);
    request.set_timeout(timeout);
    request
}

type Created = Result<Response<CreateTaskResponse>, Status>;

/// Calls CreateTask for the first attempt of the same task.
async fn create(
    process: &ServerProcess,
    workspace: &PausedWorkspace,
    timeout: Duration,
) -> JoinHandle<Created> {
    let (mut tasks, request) = (process.tasks().await, request(workspace, timeout));
    tokio::spawn(async move { tasks.create_task(request).await })
}

/// Returns the paths of the requests that the workspace has received.
fn paths(workspace: &PausedWorkspace) -> Vec<String> {
    let endpoint = |path: &str| path.rsplit("/jobs/").next().unwrap().to_owned();
    workspace.emulator.requests().iter().map(|request| endpoint(&request.path)).collect()
}

const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(50);

#[tokio::test(flavor = "multi_thread")]
async fn repeated_create_gets_the_run_of_a_submission_that_is_answered_after_the_deadline() {
    let workspace = PausedWorkspace::start().await;
    let mut process = start(&workspace, "");
    let status = create(&process, &workspace, SHORT).await.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("runs/submit"), "{status:?}");
    assert!(status.message().contains("no response within 0."), "{status:?}");

    let again = create(&process, &workspace, LONG).await;
    process.wait_for_line("joined an identical request in flight");
    workspace.resume.add_permits(1);
    let created = again.await.unwrap().unwrap().into_inner();
    let runs = workspace.emulator.runs();
    let meta: serde_json::Value = serde_json::from_slice(&created.resource_meta).unwrap();
    assert_eq!(meta["run_id"], runs[0].run_id.to_string());
    assert_eq!(paths(&workspace), ["runs/submit"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn run_of_a_submission_that_is_answered_after_the_deadline_is_cancelled_without_a_search() {
    let workspace = PausedWorkspace::start().await;
    let process = start(&workspace, "--abandon-grace 0");
    create(&process, &workspace, SHORT).await.await.unwrap().unwrap_err();
    workspace.resume.add_permits(1);
    let is_cancelled = async || workspace.emulator.runs().first().is_some_and(|run| run.cancelled);
    until("the orphan is cancelled", is_cancelled).await;
    assert_eq!(paths(&workspace), ["runs/submit", "runs/cancel"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn create_with_hardly_any_time_sends_nothing_and_says_so() {
    let workspace = PausedWorkspace::start().await;
    let process = start(&workspace, "");
    let timeout = Duration::from_millis(300);
    let status = create(&process, &workspace, timeout).await.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().starts_with("nothing was started: only "), "{status:?}");
    assert!(status.message().contains("`defaultTimeout`"), "{status:?}");
    assert_eq!(workspace.connected.available_permits(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn short_deadline_of_the_first_caller_does_not_fail_a_patient_one() {
    let workspace = PausedWorkspace::start().await;
    let limited = CannedResponse::json(429, "{}").with_header("retry-after", "1");
    workspace.emulator.answer_next(Endpoint::SubmitRun, limited, 1);
    let mut process = start(&workspace, "");
    let hurried = create(&process, &workspace, SHORT).await;
    workspace.connected.acquire().await.unwrap().forget();
    let patient = create(&process, &workspace, LONG).await;
    process.wait_for_line("joined an identical request in flight");
    workspace.resume.add_permits(1);
    hurried.await.unwrap().unwrap_err();
    patient.await.unwrap().unwrap();
    assert_eq!(workspace.emulator.runs().len(), 1);
    assert_eq!(paths(&workspace), ["runs/submit", "runs/submit"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_beyond_the_deadline_is_in_the_message_and_in_retry_info() {
    let workspace = PausedWorkspace::start().await;
    workspace.resume.add_permits(1);
    let limited = CannedResponse::json(429, "{}").with_header("retry-after", "120");
    workspace.emulator.answer_next(Endpoint::SubmitRun, limited, 1);
    let process = start(&workspace, "");
    let status = create(&process, &workspace, LONG).await.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("429, and asks to wait 120 s"), "{status:?}");
    let delay = status.get_details_retry_info().unwrap().retry_delay;
    assert_eq!(delay, Some(Duration::from_mins(2)));
}
