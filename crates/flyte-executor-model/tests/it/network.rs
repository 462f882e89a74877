//! The executor with a real network: how its service config handles unavailable replicas
//! (flyte-contract.md#observed-backend).

use crate::served::{Does, Served};
use flyte_executor_model::{
    Balancer, Client, ConnectBackoff, Deadlines, Disruptions, End, Executor, ExecutorSettings,
    Outputs, Requests, ServiceConfig, Task, TaskStatus, TryOutcome,
};
use flyteidl2::connector::{CreateTaskRequest, DeleteTaskRequest, GetTaskRequest};
use flyteidl2::core::task_execution::Phase;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

const QUICK: ConnectBackoff =
    ConnectBackoff { base: Duration::from_millis(2), max: Duration::from_millis(20) };

fn client(addresses: &[SocketAddr], config: ServiceConfig) -> Client {
    Client::new(Arc::new(Balancer::new(addresses, QUICK)), config)
}

async fn ready(addresses: &[SocketAddr], config: ServiceConfig) -> Client {
    let balancer = Balancer::new(addresses, QUICK);
    balancer.all_ready().await;
    Client::new(Arc::new(balancer), config)
}

/// An address without a listener.
fn unused_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn unavailable(pushback: Option<&'static str>) -> Does {
    let mut status = Status::unavailable("draining");
    if let Some(pushback) = pushback {
        status
            .metadata_mut()
            .insert("grpc-retry-pushback-ms", MetadataValue::from_static(pushback));
    }
    Does::Answers(status)
}

struct Empty;

impl Requests for Empty {
    fn create(&self, _attempt: u32) -> CreateTaskRequest {
        CreateTaskRequest::default()
    }
    fn get(&self, _attempt: u32, resource_meta: Vec<u8>) -> GetTaskRequest {
        GetTaskRequest { resource_meta, ..GetTaskRequest::default() }
    }
    fn delete(&self, _attempt: u32, resource_meta: Vec<u8>) -> DeleteTaskRequest {
        DeleteTaskRequest { resource_meta, ..DeleteTaskRequest::default() }
    }
}

const FATE: Disruptions = Disruptions {
    abort_after: None,
    unstored: 0,
    restart_after: None,
    timeout: Duration::from_mins(1),
};

fn task(retries: u32) -> Task {
    Task::new(ExecutorSettings::default().faster(3000), retries, Outputs::Present, None)
}

#[tokio::test]
async fn stock_config_fails_immediately_if_the_connector_is_down() {
    let client = client(&[unused_address()], ServiceConfig::stock());
    let called = client.create(CreateTaskRequest::default(), Some(Duration::from_secs(20))).await;
    let fault = called.response.unwrap_err();
    assert_eq!(fault.code, "Unavailable");
    assert!(fault.message.contains("refused"), "{fault}");
    assert_eq!(called.tries, []);
}

#[tokio::test]
async fn recommended_config_waits_until_the_connector_is_up() {
    let address = unused_address();
    let balancer = Arc::new(Balancer::new(&[address], QUICK));
    let stock = Client::new(Arc::clone(&balancer), ServiceConfig::stock());
    // The failed call ensures that the replica is known to be down.
    stock.create(CreateTaskRequest::default(), None).await.response.unwrap_err();
    let patient = Client::new(Arc::clone(&balancer), ServiceConfig::recommended());
    let waiting = tokio::spawn(async move {
        patient.create(CreateTaskRequest::default(), Some(Duration::from_secs(20))).await
    });
    tokio::task::yield_now().await;
    let served = Served::start(vec![], vec![Phase::Running]).await;
    balancer.set_address(0, served.address);
    let called = waiting.await.unwrap();
    assert_eq!(called.response.unwrap().resource_meta, b"meta");
    assert_eq!(called.tries.last().unwrap().replica, served.address);
}

#[tokio::test]
async fn deadline_bounds_the_wait_for_a_connection() {
    let client = client(&[unused_address()], ServiceConfig::recommended());
    let called = client.create(CreateTaskRequest::default(), Some(Duration::from_millis(50))).await;
    assert_eq!(called.response.unwrap_err().code, "DeadlineExceeded");
}

#[tokio::test]
async fn deadline_bounds_a_call_without_response() {
    let served = Served::start(vec![Does::Hangs], vec![Phase::Running]).await;
    let client = ready(&[served.address], ServiceConfig::recommended()).await;
    let called = client.create(CreateTaskRequest::default(), Some(Duration::from_millis(50))).await;
    // The server or the client may notice the deadline first. Both give one try and an error.
    assert!(called.response.is_err());
    assert_eq!(called.tries.len(), 1);
}

#[tokio::test]
async fn replicas_take_turns_and_unavailable_ones_are_skipped() {
    let first = Served::start(vec![], vec![Phase::Running]).await;
    let second = Served::start(vec![], vec![Phase::Running]).await;
    let client = ready(&[first.address, second.address], ServiceConfig::stock()).await;
    for _ in 0..6 {
        client.get(GetTaskRequest::default(), None).await.response.unwrap();
    }
    assert_eq!((first.seen().len(), second.seen().len()), (3, 3));
}

#[tokio::test]
async fn unavailable_is_retried_at_another_replica_only_with_a_retry_policy() {
    for (config, tries) in [(ServiceConfig::stock(), 1), (ServiceConfig::recommended(), 2)] {
        let replicas = [
            Served::start(vec![unavailable(Some("0"))], vec![Phase::Running]).await,
            Served::start(vec![], vec![Phase::Running]).await,
        ];
        let client = ready(&[replicas[0].address, replicas[1].address], config).await;
        let called = client.create(CreateTaskRequest::default(), None).await;
        assert_eq!(called.tries.len(), tries);
        assert_eq!(called.tries[0].outcome, TryOutcome::Responded(Code::Unavailable));
        assert_eq!(called.response.is_ok(), tries == 2);
    }
}

#[tokio::test]
async fn server_can_forbid_retries() {
    let served = Served::start(vec![unavailable(Some("-1"))], vec![Phase::Running]).await;
    let client = ready(&[served.address], ServiceConfig::recommended()).await;
    let called = client.create(CreateTaskRequest::default(), None).await;
    assert_eq!(called.response.unwrap_err().message, "draining");
    assert_eq!(served.seen(), ["create"]);
}

#[tokio::test]
async fn broken_connection_is_unavailable_and_recorded_as_broken() {
    let served = Served::start(vec![Does::Hangs], vec![Phase::Running]).await;
    let client = ready(&[served.address], ServiceConfig::stock()).await;
    let waiting =
        tokio::spawn(async move { client.create(CreateTaskRequest::default(), None).await });
    served.came().await;
    drop(served);
    let called = waiting.await.unwrap();
    assert_eq!(called.response.unwrap_err().code, "Unavailable");
    assert_eq!(called.tries[0].outcome, TryOutcome::Broken);
}

#[tokio::test]
async fn task_runs_from_create_to_collection() {
    let phases = vec![Phase::Queued, Phase::Running, Phase::Succeeded];
    let served = Served::start(vec![unavailable(None)], phases).await;
    let client = ready(&[served.address], ServiceConfig::stock()).await;
    let finished = Executor::new(client, Deadlines::default()).run(task(1), &Empty, FATE).await;
    assert_eq!((finished.status, finished.end), (TaskStatus::Collected, Some(End::Success)));
    assert_eq!(served.seen(), ["create", "create", "get", "get", "get", "delete"]);
    assert_eq!((finished.attempt, finished.calls.len()), (1, 6));
}

/// (flyte-contract.md#observed-outages)
#[tokio::test]
async fn loss_of_one_of_two_replicas_fails_no_poll() {
    let phases = || vec![Phase::Running];
    let replicas = [Served::start(vec![], phases()).await, Served::start(vec![], phases()).await];
    let addresses = [replicas[0].address, replicas[1].address];
    let client = ready(&addresses, ServiceConfig::recommended()).await;
    let running = tokio::spawn(async move {
        let deadlines = Deadlines::configured(Duration::from_mins(10), &[]);
        let timeout = Duration::from_secs(1);
        let disruptions = Disruptions { timeout, ..FATE };
        Executor::new(client, deadlines).run(task(0), &Empty, disruptions).await
    });
    let [killed, other] = replicas;
    while !killed.seen().contains(&"get".to_owned()) {
        killed.came().await;
    }
    drop(killed);
    let polled = other.seen().len();
    while other.seen().len() < polled + 3 {
        other.came().await;
    }
    let finished = running.await.unwrap();
    assert_eq!(finished.status, TaskStatus::Active);
    assert!(finished.calls.iter().all(|call| call.outcome.is_ok()), "{:?}", finished.calls);
}

/// The connector is unavailable for too long while a task is RUNNING (flyte-contract.md#observed-backend).
#[tokio::test]
async fn outage_freezes_a_task_only_with_the_stock_config() {
    for (config, frozen) in [(ServiceConfig::stock(), true), (ServiceConfig::recommended(), false)]
    {
        let gone = Served::start(vec![], vec![Phase::Running]).await;
        let balancer = Arc::new(Balancer::new(&[gone.address], QUICK));
        balancer.all_ready().await;
        let client = Client::new(Arc::clone(&balancer), config);
        let running = tokio::spawn(async move {
            Executor::new(client, Deadlines::default()).run(task(0), &Empty, FATE).await
        });
        // The create and one poll.
        gone.came().await;
        while !gone.seen().contains(&"get".to_owned()) {
            gone.came().await;
        }
        drop(gone);
        if frozen {
            assert_eq!(running.await.unwrap().status, TaskStatus::Frozen);
        } else {
            let back = Served::start(vec![], vec![Phase::Succeeded]).await;
            balancer.set_address(0, back.address);
            let finished = running.await.unwrap();
            assert_eq!(
                (finished.status, finished.end),
                (TaskStatus::Collected, Some(End::Success))
            );
        }
    }
}
