//! Deadlines, with a paused clock and without a socket.

use std::{sync::Arc, time::Duration};

use connector_core::{CallContext, Connector, CreateContext, Error, Registry, Resource, TaskType};
use flyteidl2::{
    connector::{
        CreateTaskRequest, DeleteTaskRequest, GetTaskRequest, TaskCategory,
        async_connector_service_client::AsyncConnectorServiceClient,
        async_connector_service_server::AsyncConnectorServiceServer,
    },
    core::TaskTemplate,
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::task::TaskTracker;
use tonic::{Code, Request};

use super::{AsyncConnector, Calls, CreateDedup};
use crate::metrics::{Exposition, Metrics};

/// Responds only when notified.
#[derive(Debug, Clone, Default)]
struct Slow {
    go: Arc<Notify>,
    created: Arc<Notify>,
}

impl Connector for Slow {
    const NAME: &'static str = "Slow Connector";
    type ResourceMeta = ();

    fn task_types(&self) -> Vec<TaskType> {
        vec![TaskType::new("slow", 0)]
    }

    async fn create(&self, _cx: CreateContext) -> Result<(), Error> {
        self.go.notified().await;
        self.created.notify_one();
        Ok(())
    }

    async fn get(&self, _cx: CallContext, (): ()) -> Result<Resource, Error> {
        self.go.notified().await;
        Err(Error::internal("not reached"))
    }

    async fn delete(&self, cx: CallContext, (): ()) -> Result<(), Error> {
        // A connector that observes its deadline responds itself.
        tokio::time::sleep_until(cx.deadline.unwrap().into()).await;
        Ok(())
    }
}

struct Fixture {
    client: AsyncConnectorServiceClient<AsyncConnectorServiceServer<AsyncConnector>>,
    connector: Slow,
    tracker: TaskTracker,
    metrics: Arc<Metrics>,
}

fn fixture() -> Fixture {
    let connector = Slow::default();
    let registry = Registry::builder().register(connector.clone()).build().unwrap();
    let metrics = Arc::new(Metrics::new([]));
    let tracker = TaskTracker::new();
    let calls = Calls {
        registry,
        metrics: Arc::clone(&metrics),
        tracker: tracker.clone(),
        create_dedup: CreateDedup::new(Duration::from_secs(30)),
        default_timeout: Duration::from_mins(1),
    };
    let client =
        AsyncConnectorServiceClient::new(AsyncConnectorServiceServer::new(AsyncConnector {
            calls,
        }));
    Fixture { client, connector, tracker, metrics }
}

fn category() -> TaskCategory {
    TaskCategory { name: "slow".to_owned(), version: 0 }
}

fn get(timeout: Option<Duration>) -> Request<GetTaskRequest> {
    let get = GetTaskRequest {
        resource_meta: b"null".to_vec(),
        task_category: Some(category()),
        ..GetTaskRequest::default()
    };
    let mut request = Request::new(get);
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    request
}

#[tokio::test(start_paused = true)]
async fn server_responds_before_the_deadline_if_the_connector_does_not() {
    let mut fixture = fixture();
    // However long the caller waits, a GetTask takes at most 30 s.
    for (timeout, least, most) in [(Some(10), 9, 10), (None, 29, 30), (Some(600), 29, 30)] {
        let started = Instant::now();
        let status =
            fixture.client.get_task(get(timeout.map(Duration::from_secs))).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(
            status.message().starts_with("the connector did not respond in time"),
            "{status:?}"
        );
        let took = started.elapsed();
        assert!(
            (Duration::from_secs(least)..Duration::from_secs(most)).contains(&took),
            "{timeout:?}: {took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn response_at_the_connectors_deadline_reaches_the_caller() {
    let delete = DeleteTaskRequest {
        resource_meta: b"null".to_vec(),
        task_category: Some(category()),
        connection: None,
    };
    let mut request = Request::new(delete);
    request.set_timeout(Duration::from_secs(10));
    fixture().client.delete_task(request).await.unwrap();
}

fn create(timeout: Duration) -> Request<CreateTaskRequest> {
    let template = TaskTemplate { r#type: "slow".to_owned(), ..TaskTemplate::default() };
    let create = CreateTaskRequest { template: Some(template), ..CreateTaskRequest::default() };
    let mut request = Request::new(create);
    request.set_timeout(timeout);
    request
}

#[tokio::test(start_paused = true)]
async fn create_takes_at_most_a_minute_however_long_the_caller_waits() {
    let mut fixture = fixture();
    let started = Instant::now();
    let status = fixture.client.create_task(create(Duration::from_mins(10))).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let took = started.elapsed();
    assert!((Duration::from_secs(59)..Duration::from_mins(1)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn create_with_too_little_time_starts_nothing() {
    let mut fixture = fixture();
    let status = fixture.client.create_task(create(Duration::from_millis(190))).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let expected = "nothing was started: only 95 ms of the caller's time were left for it; ";
    assert!(status.message().starts_with(expected), "{status:?}");
    assert!(status.metadata().get("grpc-retry-pushback-ms").is_none(), "{status:?}");
    assert!(fixture.tracker.is_empty());
}

#[tokio::test(start_paused = true)]
async fn create_continues_after_its_deadline() {
    let mut fixture = fixture();
    let status = fixture.client.create_task(create(Duration::from_secs(10))).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);

    fixture.tracker.close();
    assert!(!fixture.tracker.is_empty(), "shutdown must wait for it");
    fixture.connector.go.notify_one();
    fixture.connector.created.notified().await;
    fixture.tracker.wait().await;
}

#[tokio::test(start_paused = true)]
async fn dropped_call_is_counted_as_cancelled() {
    let mut fixture = fixture();
    let dropped =
        tokio::time::timeout(Duration::from_secs(1), fixture.client.get_task(get(None))).await;
    assert!(dropped.is_err());
    let text = fixture.metrics.encode(Exposition::Text);
    assert!(
        text.contains(r#"rpcs_total{task_type="slow",method="GetTask",code="CANCELLED"} 1"#),
        "{text}"
    );
    assert!(fixture.tracker.is_empty(), "shutdown must not wait for it");
}
