//! Stops of the real binary by real signals, while a task is being created.

use std::{net::Ipv4Addr, sync::Arc};

use databricks_emulator::Emulator;
use flyteidl2::connector::CreateTaskRequest;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    cli::Serving,
    databricks::{captured, pointed_at},
};

/// A fake workspace behind a gate: connections to it are held until they are let through.
struct Gated {
    emulator: Emulator,
    host: String,
    come: Arc<Semaphore>,
    go: Arc<Semaphore>,
}

impl Gated {
    async fn start() -> Self {
        let emulator = Emulator::builder().token("dapi-DATABRICKS_TOKEN").start().await.unwrap();
        let behind = emulator.http_url().replace("http://", "");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let host = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let (come, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (coming, going) = (Arc::clone(&come), Arc::clone(&go));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                coming.add_permits(1);
                let (going, behind) = (Arc::clone(&going), behind.clone());
                tokio::spawn(async move {
                    // One permit opens the gate for good.
                    drop(going.acquire().await.unwrap());
                    let mut server = TcpStream::connect(behind).await.unwrap();
                    let _until_either_ends =
                        tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { emulator, host, come, go }
    }

    /// A server, and a task that it is creating.
    async fn creating(&self) -> (Serving, JoinHandle<bool>) {
        let serving = Serving::start("", &[("FLYTE_DATABRICKS_ALLOWED_HOSTS", "127.0.0.1:*")]);
        let mut tasks = serving.tasks().await;
        let request: CreateTaskRequest = pointed_at(captured("01_new_cluster"), &self.host);
        let call = tokio::spawn(async move { tasks.create_task(request).await.is_ok() });
        self.come.acquire().await.unwrap().forget();
        (serving, call)
    }
}

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
        serving.line("asked to stop");
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
