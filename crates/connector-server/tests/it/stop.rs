//! Stops of the real binary by real signals, while a task is being created.

use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{cli::Serving, gated::Gated};

/// Asks until it is so. A hang is ended by the test runner.
async fn until_not_ready(serving: &Serving) {
    while serving.page("/readyz").await != 503 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_takes_readiness_away_and_lets_the_call_finish() {
    let workspace = Gated::start().await;
    let (serving, call) = workspace.creating().await;
    let mut watch = HealthClient::new(serving.channel().await)
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    serving.signal("TERM");
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    until_not_ready(&serving).await;
    assert_eq!(serving.page("/livez").await, 200);
    assert!(!call.is_finished());

    workspace.go.add_permits(1);
    assert!(call.await.unwrap(), "the task was not created");
    let (code, rest) = serving.end();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("stopped: every call was answered"), "{rest}");
    assert_eq!(workspace.emulator.runs().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_caller_has_gone_is_created_before_the_end() {
    let workspace = Gated::start().await;
    let (mut serving, call) = workspace.creating().await;
    call.abort();
    while serving.line("call answered")["rpc.code"] != "CANCELLED" {}
    serving.signal("TERM");
    until_not_ready(&serving).await;
    workspace.go.add_permits(1);
    let (code, rest) = serving.end();
    assert_eq!(code, Some(0), "{rest}");
    assert_eq!(workspace.emulator.runs().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_process_at_once() {
    for (second, expected) in [("TERM", 143), ("INT", 130)] {
        let workspace = Gated::start().await;
        let (mut serving, call) = workspace.creating().await;
        serving.signal("TERM");
        serving.line("shutdown requested");
        serving.signal(second);
        let (code, rest) = serving.end();
        assert_eq!(code, Some(expected), "{rest}");
        assert!(
            rest.contains(&format!("stopped at once by a second signal, SIG{second}")),
            "{rest}"
        );
        assert!(!call.await.unwrap());
        assert!(workspace.emulator.requests().is_empty());
    }
}
