//! 2,000 tasks of Flyte's executor through two replicas that are killed in turn, with faults of the service.
//!
//! `cargo xtask nightly` runs it: `cargo test -p batch-connector --test it soak -- --ignored`.

use std::{sync::Arc, time::Duration};

use connector_core::testing::Fault;
use flyte_executor_model::{
    Balancer, Client, ConnectBackoff, Deadlines, Disruptions, End, Executor, ExecutorSettings,
    Outputs, Requests, ServiceConfig, Task,
};
use flyteidl2::{
    connector::{CreateTaskRequest, DeleteTaskRequest, GetTaskRequest},
    core::{NodeExecutionIdentifier, TaskExecutionIdentifier, WorkflowExecutionIdentifier},
};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use crate::{
    process::Server,
    served::{category, connection, create_request},
    service::Service,
};

const TASKS: usize = 2_000;
const CONCURRENT_TASKS: usize = 200;
/// Intervals of the executor are divided by this.
const SPEED: u32 = 150;

struct TaskRequests(usize);

impl Requests for TaskRequests {
    fn create(&self, attempt: u32) -> CreateTaskRequest {
        let mut request = create_request();
        request.output_prefix = format!("s3://soak/{}/{attempt}", self.0);
        let id = TaskExecutionIdentifier {
            task_id: None,
            node_execution_id: Some(NodeExecutionIdentifier {
                node_id: "a0".to_owned(),
                execution_id: Some(WorkflowExecutionIdentifier {
                    name: format!("run-{}", self.0),
                    ..Default::default()
                }),
            }),
            retry_attempt: attempt,
        };
        request.task_execution_metadata.get_or_insert_default().task_execution_id = Some(id);
        request
    }

    fn get(&self, _attempt: u32, resource_meta: Vec<u8>) -> GetTaskRequest {
        let (task_category, connection) = (Some(category()), Some(connection()));
        GetTaskRequest { resource_meta, task_category, connection, ..Default::default() }
    }

    fn delete(&self, _attempt: u32, resource_meta: Vec<u8>) -> DeleteTaskRequest {
        let (task_category, connection) = (Some(category()), Some(connection()));
        DeleteTaskRequest { resource_meta, task_category, connection }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; part of cargo xtask nightly"]
async fn every_task_succeeds_with_one_job_for_each_attempt() {
    let service = Service::default();
    service.end_after(3);
    let address = service.serve(0).await.unwrap();
    let start = move || {
        let mut server = Server::start(address, None);
        server.discard_log();
        server
    };
    let mut servers = [start(), start()];
    let addresses = [servers[0].grpc, servers[1].grpc];
    let balancer = Arc::new(Balancer::new(&addresses, ConnectBackoff::default()));
    let client = Client::new(Arc::clone(&balancer), ServiceConfig::recommended());
    let deadlines = Deadlines::all(Some(Duration::from_secs(20)));
    let executor = Executor::new(client, deadlines).with_polls(100);

    let disruptor = tokio::spawn({
        let service = service.clone();
        async move {
            for round in 0_usize.. {
                let fault = Fault::TRANSIENT[round % Fault::TRANSIENT.len()];
                // A hanging service would only slow the soak down.
                service.set_fault(Some(fault).filter(|fault| *fault != Fault::Hang));
                sleep(Duration::from_millis(100)).await;
                service.set_fault(None);
                sleep(Duration::from_millis(400)).await;
                let replica = round % servers.len();
                servers[replica] = start();
                balancer.set_address(replica, servers[replica].grpc);
                sleep(Duration::from_millis(500)).await;
            }
        }
    });

    let permits = Arc::new(Semaphore::new(CONCURRENT_TASKS));
    let mut tasks = JoinSet::new();
    for number in 0..TASKS {
        let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
        let executor = executor.clone();
        tasks.spawn(async move {
            let _permit = permit;
            let task =
                Task::new(ExecutorSettings::default().faster(SPEED), 20, Outputs::Present, None);
            let disruptions =
                Disruptions { timeout: Duration::from_mins(2), ..Disruptions::default() };
            (number, executor.run(task, &TaskRequests(number), disruptions).await)
        });
    }
    while let Some(finished) = tasks.join_next().await {
        let (number, finished) = finished.unwrap();
        assert_eq!(finished.end, Some(End::Success), "task {number}: {:?}", finished.status);
    }
    disruptor.abort();
    assert_eq!(service.succeeded(), TASKS, "a task ran twice");
    println!(
        "{} jobs started, {} left active by killed servers",
        service.started(),
        service.active()
    );
}
