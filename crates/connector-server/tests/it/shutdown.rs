//! Shutdown of the binary by signals while a task is being created.

use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{eventually::until, paused_workspace::PausedWorkspace, process::ServerProcess};

async fn until_not_ready(process: &ServerProcess) {
    until("the server is not ready", async || process.http_status("/readyz").await == 503).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signal_ends_readiness_and_lets_calls_finish() {
    let workspace = PausedWorkspace::start().await;
    let (process, call) = workspace.start_create().await;
    let mut watch = HealthClient::new(process.channel().await)
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    process.signal("TERM");
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    until_not_ready(&process).await;
    assert_eq!(process.http_status("/livez").await, 200);
    assert!(!call.is_finished());

    workspace.resume.add_permits(1);
    assert!(call.await.unwrap(), "the task was not created");
    let (code, rest) = process.wait();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("stopped: all calls are complete"), "{rest}");
    assert_eq!(workspace.emulator.runs().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn detached_creation_finishes_before_the_process_ends() {
    let workspace = PausedWorkspace::start().await;
    let (mut process, call) = workspace.start_create().await;
    call.abort();
    // Each line is read from a log that ends with the process.
    while process.wait_for_line("call answered")["rpc.code"] != "CANCELLED" {}
    process.signal("TERM");
    until_not_ready(&process).await;
    workspace.resume.add_permits(1);
    let (code, rest) = process.wait();
    assert_eq!(code, Some(0), "{rest}");
    assert_eq!(workspace.emulator.runs().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn second_signal_ends_the_process_immediately() {
    for (second, expected) in [("TERM", 143), ("INT", 130)] {
        let workspace = PausedWorkspace::start().await;
        let (mut process, call) = workspace.start_create().await;
        process.signal("TERM");
        process.wait_for_line("shutdown requested");
        process.signal(second);
        let (code, rest) = process.wait();
        assert_eq!(code, Some(expected), "{rest}");
        assert!(
            rest.contains(&format!("shutdown aborted by a second signal, SIG{second}")),
            "{rest}"
        );
        assert!(!call.await.unwrap());
        assert!(workspace.emulator.requests().is_empty());
    }
}
