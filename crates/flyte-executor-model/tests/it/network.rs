//! The executor over a real network: what its service config makes of replicas that are away (FC §8.2).

use crate::served::{Does, Served};
use flyte_executor_model::{
    Balancer, Client, ConnectBackoff, Deadlines, End, Ended, Executor, Fate, Outputs, Requests,
    ServiceConfig, Settings, Standing, Task,
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

/// An address at which nobody listens.
fn nobody() -> SocketAddr {
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

const FATE: Fate =
    Fate { abort_after: None, unstored: 0, restart_after: None, patience: Duration::from_mins(1) };

fn task(retries: u32) -> Task {
    Task::new(Settings::default().faster(3000), retries, Outputs::Fine, None)
}

#[tokio::test]
async fn with_the_stock_config_a_connector_that_is_down_is_an_error_at_once() {
    let client = client(&[nobody()], ServiceConfig::stock());
    let called = client.create(CreateTaskRequest::default(), Some(Duration::from_secs(20))).await;
    let fault = called.answer.unwrap_err();
    assert_eq!(fault.code, "Unavailable");
    assert!(fault.message.contains("refused"), "{fault}");
    assert_eq!(called.tries, []);
}

#[tokio::test]
async fn with_the_patient_config_a_create_waits_until_the_connector_comes_up() {
    let address = nobody();
    let balancer = Arc::new(Balancer::new(&[address], QUICK));
    let stock = Client::new(Arc::clone(&balancer), ServiceConfig::stock());
    // From here on the replica is known to be down.
    stock.create(CreateTaskRequest::default(), None).await.answer.unwrap_err();
    let patient = Client::new(Arc::clone(&balancer), ServiceConfig::patient());
    let waiting = tokio::spawn(async move {
        patient.create(CreateTaskRequest::default(), Some(Duration::from_secs(20))).await
    });
    tokio::task::yield_now().await;
    let served = Served::start(vec![], vec![Phase::Running]).await;
    balancer.moved(0, served.address);
    let called = waiting.await.unwrap();
    assert_eq!(called.answer.unwrap().resource_meta, b"meta");
    assert_eq!(called.tries.last().unwrap().replica, served.address);
}

#[tokio::test]
async fn the_deadline_bounds_the_wait_for_a_connection() {
    let client = client(&[nobody()], ServiceConfig::patient());
    let called = client.create(CreateTaskRequest::default(), Some(Duration::from_millis(50))).await;
    assert_eq!(called.answer.unwrap_err().code, "DeadlineExceeded");
}

#[tokio::test]
async fn the_deadline_bounds_a_call_that_is_not_answered() {
    let served = Served::start(vec![Does::Hangs], vec![Phase::Running]).await;
    let client = ready(&[served.address], ServiceConfig::patient()).await;
    let called = client.create(CreateTaskRequest::default(), Some(Duration::from_millis(50))).await;
    // Whoever notices first, the server or the client; it is one try and an error.
    assert!(called.answer.is_err());
    assert_eq!(called.tries.len(), 1);
}

#[tokio::test]
async fn replicas_take_turns_and_those_that_are_away_are_passed_over() {
    let first = Served::start(vec![], vec![Phase::Running]).await;
    let second = Served::start(vec![], vec![Phase::Running]).await;
    let client = ready(&[first.address, second.address], ServiceConfig::stock()).await;
    for _ in 0..6 {
        client.get(GetTaskRequest::default(), None).await.answer.unwrap();
    }
    assert_eq!((first.seen().len(), second.seen().len()), (3, 3));
}

#[tokio::test]
async fn unavailable_is_tried_again_at_another_replica_under_a_retry_policy_alone() {
    for (config, tries) in [(ServiceConfig::stock(), 1), (ServiceConfig::patient(), 2)] {
        let replicas = [
            Served::start(vec![unavailable(Some("0"))], vec![Phase::Running]).await,
            Served::start(vec![], vec![Phase::Running]).await,
        ];
        let client = ready(&[replicas[0].address, replicas[1].address], config).await;
        let called = client.create(CreateTaskRequest::default(), None).await;
        assert_eq!(called.tries.len(), tries);
        assert_eq!(called.tries[0].ended, Ended::Answered(Code::Unavailable));
        assert_eq!(called.answer.is_ok(), tries == 2);
    }
}

#[tokio::test]
async fn a_server_can_forbid_another_try() {
    let served = Served::start(vec![unavailable(Some("-1"))], vec![Phase::Running]).await;
    let client = ready(&[served.address], ServiceConfig::patient()).await;
    let called = client.create(CreateTaskRequest::default(), None).await;
    assert_eq!(called.answer.unwrap_err().message, "draining");
    assert_eq!(served.seen(), ["create"]);
}

#[tokio::test]
async fn a_connection_that_breaks_under_a_call_is_unavailable_and_told_apart() {
    let served = Served::start(vec![Does::Hangs], vec![Phase::Running]).await;
    let client = ready(&[served.address], ServiceConfig::stock()).await;
    let waiting =
        tokio::spawn(async move { client.create(CreateTaskRequest::default(), None).await });
    served.came().await;
    drop(served);
    let called = waiting.await.unwrap();
    assert_eq!(called.answer.unwrap_err().code, "Unavailable");
    assert_eq!(called.tries[0].ended, Ended::Broken);
}

#[tokio::test]
async fn a_task_lives_from_create_to_collection() {
    let phases = vec![Phase::Queued, Phase::Running, Phase::Succeeded];
    let served = Served::start(vec![unavailable(None)], phases).await;
    let client = ready(&[served.address], ServiceConfig::stock()).await;
    let finished = Executor::new(client, Deadlines::default()).run(task(1), &Empty, FATE).await;
    assert_eq!((finished.standing, finished.end), (Standing::Collected, Some(End::Success)));
    assert_eq!(served.seen(), ["create", "create", "get", "get", "get", "delete"]);
    assert_eq!((finished.attempt, finished.calls.len()), (1, 6));
}

/// FC §8.2: a connector that is away too long while a task is RUNNING.
#[tokio::test]
async fn an_absence_freezes_a_task_under_the_stock_config_alone() {
    for (config, frozen) in [(ServiceConfig::stock(), true), (ServiceConfig::patient(), false)] {
        let gone = Served::start(vec![], vec![Phase::Running]).await;
        let balancer = Arc::new(Balancer::new(&[gone.address], QUICK));
        balancer.all_ready().await;
        let client = Client::new(Arc::clone(&balancer), config);
        let running = tokio::spawn(async move {
            Executor::new(client, Deadlines::default()).run(task(0), &Empty, FATE).await
        });
        // The create and a poll.
        gone.came().await;
        while !gone.seen().contains(&"get".to_owned()) {
            gone.came().await;
        }
        drop(gone);
        if frozen {
            assert_eq!(running.await.unwrap().standing, Standing::Frozen);
        } else {
            let back = Served::start(vec![], vec![Phase::Succeeded]).await;
            balancer.moved(0, back.address);
            let finished = running.await.unwrap();
            assert_eq!(
                (finished.standing, finished.end),
                (Standing::Collected, Some(End::Success))
            );
        }
    }
}
