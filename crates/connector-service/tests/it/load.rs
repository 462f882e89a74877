//! Calls, bytes and waiting times beyond the limits of the gRPC port.

use std::{sync::atomic::Ordering, time::Duration};

use connector_core::Registry;
use connector_service::{Limits, ServiceConfig};
use flyteidl2::connector::{
    CreateTaskRequest, GetTaskMetricsRequest, GetTaskRequest,
    async_connector_service_client::AsyncConnectorServiceClient,
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::net::TcpStream;
use tonic::{Code, Status, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;

use crate::{
    eventually::until,
    raw,
    scripted::{Act, Meta, Scripted, category, create},
    server::{Running, config, start},
};

async fn limited(limits: Limits) -> (Running, Scripted) {
    let connector = Scripted::new();
    let registry = Registry::builder().register(connector.clone()).build().unwrap();
    // Held calls must outlast the test on a busy machine.
    let config = ServiceConfig { limits, default_timeout: Duration::from_mins(10), ..config() };
    (start(config, registry).await, connector)
}

fn message(act: Act) -> GetTaskRequest {
    GetTaskRequest {
        resource_meta: Meta::bytes(act),
        task_category: Some(category()),
        ..Default::default()
    }
}

fn held_metrics() -> GetTaskMetricsRequest {
    GetTaskMetricsRequest {
        resource_meta: Meta::bytes(Act::Hold),
        task_category: Some(category()),
        ..Default::default()
    }
}

async fn get(server: &Running, act: Act) -> Result<(), Status> {
    server.tasks().get_task(message(act)).await.map(|_| ())
}

fn pushback(status: &Status) -> i64 {
    status.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_thousand_concurrent_calls_the_limit_runs_and_the_rest_gets_a_retry_delay() {
    const CONNECTIONS: usize = 10;
    const CALLS: usize = 10_000;
    const RUNNING: usize = 100;
    const QUEUED: usize = 200;
    let limits = Limits { calls: RUNNING, queued: QUEUED, ..Limits::default() };
    let (server, connector) = limited(limits).await;
    let mut calls = FuturesUnordered::new();
    for _ in 0..CONNECTIONS {
        let endpoint = Endpoint::new(format!("http://{}", server.grpc)).unwrap();
        let tasks = AsyncConnectorServiceClient::new(endpoint.connect().await.unwrap());
        for _ in 0..CALLS / CONNECTIONS {
            let mut tasks = tasks.clone();
            calls.push(tokio::spawn(async move {
                // A call that may take longer than a GetTask.
                tasks.get_task_metrics(held_metrics()).await.map(|_| ())
            }));
        }
    }
    // No admitted call completes before all others are rejected.
    for _ in 0..CALLS - RUNNING - QUEUED {
        let rejected = calls.next().await.unwrap().unwrap().unwrap_err();
        assert_eq!(rejected.code(), Code::ResourceExhausted, "{rejected:?}");
        let millis = pushback(&rejected);
        assert!((500..=1500).contains(&millis), "{millis}");
        let delay = rejected.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert_eq!(delay.as_millis(), u128::try_from(millis).unwrap());
    }
    assert_eq!(connector.0.most_inside.load(Ordering::SeqCst), RUNNING);
    // Health checks are not affected.
    let mut health = HealthClient::new(server.channel.clone());
    health.check(HealthCheckRequest::default()).await.unwrap();

    connector.0.release.add_permits(RUNNING + QUEUED);
    while let Some(result) = calls.next().await {
        result.unwrap().unwrap();
    }
    assert_eq!(connector.0.most_inside.load(Ordering::SeqCst), RUNNING);
    assert_eq!(connector.0.inside.load(Ordering::SeqCst), 0);
    server
        .scrape_until(&format!(r#"refused_total{{reason="busy"}} {}"#, CALLS - RUNNING - QUEUED))
        .await;
    // All permits are free again.
    connector.0.release.add_permits(1);
    get(&server, Act::Hold).await.unwrap();
}

#[tokio::test]
async fn queued_call_is_rejected_before_its_deadline() {
    let (server, connector) = limited(Limits { calls: 1, ..Limits::default() }).await;
    let mut tasks = server.tasks();
    let running = tokio::spawn(async move { tasks.get_task(message(Act::Hold)).await.map(|_| ()) });
    connector.0.entered.acquire().await.unwrap().forget();
    let rejected = get_with_deadline(&server, &message(Act::Ok)).await;
    assert_eq!(rejected["grpc-status"], "8", "{rejected:?}");
    assert!(rejected["grpc-retry-pushback-ms"].to_str().unwrap().parse::<i64>().unwrap() > 0);
    connector.0.release.add_permits(1);
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn shutdown_rejects_queued_calls_and_completes_running_ones() {
    let (server, connector) = limited(Limits { calls: 1, ..Limits::default() }).await;
    let call = |act| {
        let mut tasks = server.tasks();
        tokio::spawn(async move { tasks.get_task(message(act)).await.map(|_| ()) })
    };
    let running = call(Act::Hold);
    connector.0.entered.acquire().await.unwrap().forget();
    let waiting = call(Act::Ok);
    // Sent later on the same connection, so the call has arrived once this completes.
    let mut health = HealthClient::new(server.channel.clone());
    health.check(HealthCheckRequest::default()).await.unwrap();
    server.stop.cancel();
    let rejected = waiting.await.unwrap().unwrap_err();
    assert_eq!(rejected.code(), Code::Unavailable, "{rejected:?}");
    server.scrape_until(r#"refused_total{reason="stopping"} 1"#).await;
    assert!(!server.ended.is_finished());
    connector.0.release.add_permits(1);
    running.await.unwrap().unwrap();
    server.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn too_large_message_is_rejected_unread_without_a_retry() {
    let (server, _connector) =
        limited(Limits { message_bytes: 100_000, ..Limits::default() }).await;
    let large = |bytes| GetTaskRequest { output_prefix: "x".repeat(bytes), ..message(Act::Ok) };
    server.tasks().get_task(large(90_000)).await.unwrap();
    let rejected = server.tasks().get_task(large(100_000)).await.unwrap_err();
    assert_eq!(rejected.code(), Code::ResourceExhausted, "{rejected:?}");
    assert!(rejected.message().contains("the server's limit is 100000"), "{rejected:?}");
    assert_eq!(pushback(&rejected), -1);
}

#[tokio::test]
async fn large_messages_queue_for_memory_and_small_ones_overtake_them() {
    let limits = Limits { request_bytes: 1024 * 1024, ..Limits::default() };
    let (server, connector) = limited(limits).await;
    let large = || {
        let mut tasks = server.tasks();
        let request =
            GetTaskRequest { output_prefix: "x".repeat(700 * 1024), ..message(Act::Hold) };
        tokio::spawn(async move { tasks.get_task(request).await.map(|_| ()) })
    };
    let both = [large(), large()];
    connector.0.entered.acquire().await.unwrap().forget();
    // The second one is queued now or later. It does not run.
    get(&server, Act::Ok).await.unwrap();
    assert_eq!(connector.0.entered.available_permits(), 0);
    connector.0.release.add_permits(2);
    for call in both {
        call.await.unwrap().unwrap();
    }
    assert_eq!(connector.0.most_inside.load(Ordering::SeqCst), 1);
}

/// Sends `GetTask` with a short deadline, from a client that does not enforce it. Returns the response headers.
async fn get_with_deadline(server: &Running, message: &GetTaskRequest) -> http::HeaderMap {
    let stream = TcpStream::connect(server.grpc).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut head = raw::request(server.grpc, "GetTask");
    head.headers_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let (response, mut body) = client.ready().await.unwrap().send_request(head, false).unwrap();
    body.send_data(raw::framed(message).into(), true).unwrap();
    response.await.unwrap().headers().clone()
}

/// Begins to create a task and cancels the call. Waits until the server has counted `nth` cancellations.
async fn create_and_cancel(server: &Running, connector: &Scripted, bytes: usize, nth: usize) {
    let mut tasks = server.tasks();
    let request = CreateTaskRequest { output_prefix: "x".repeat(bytes), ..create(Act::Hold) };
    let caller = tokio::spawn(async move { tasks.create_task(request).await });
    connector.0.entered.acquire().await.unwrap().forget();
    caller.abort();
    let counted = format!(r#"method="CreateTask",code="CANCELLED"}} {nth}"#);
    server.scrape_until(&counted).await;
}

#[tokio::test]
async fn detached_create_keeps_the_memory_permit_of_its_message() {
    let limits = Limits { request_bytes: 1024 * 1024, ..Limits::default() };
    let (server, connector) = limited(limits).await;
    create_and_cancel(&server, &connector, 700 * 1024, 1).await;
    let request = || GetTaskRequest { output_prefix: "x".repeat(700 * 1024), ..message(Act::Ok) };
    let rejected = get_with_deadline(&server, &request()).await;
    assert_eq!(rejected["grpc-status"], "8", "{rejected:?}");
    connector.0.release.add_permits(1);
    server.tasks().get_task(request()).await.unwrap();
}

#[tokio::test]
async fn too_much_unfinished_work_blocks_create_and_no_other_call() {
    let (server, connector) = limited(Limits { calls: 1, ..Limits::default() }).await;
    for nth in 1..=5 {
        create_and_cancel(&server, &connector, 0, nth).await;
    }
    let rejected = server.tasks().create_task(create(Act::Ok)).await.unwrap_err();
    assert_eq!(rejected.code(), Code::ResourceExhausted, "{rejected:?}");
    get(&server, Act::Ok).await.unwrap();
    connector.0.release.add_permits(5);
    until("the detached creations are done", async || {
        server.tasks().create_task(create(Act::Ok)).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn incomplete_request_times_out_and_occupies_no_running_slot() {
    let limits = Limits { calls: 1, request_time: Duration::from_millis(100), ..Limits::default() };
    let (server, _connector) = limited(limits).await;
    let stream = TcpStream::connect(server.grpc).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let complete = raw::framed(&message(Act::Ok));
    // Nothing, a part of the prefix, all but the last byte.
    for part in [&[][..], &complete[..3], &complete[..complete.len() - 1]] {
        let (response, mut body) =
            client.send_request(raw::request(server.grpc, "GetTask"), false).unwrap();
        body.send_data(part.to_vec().into(), false).unwrap();
        if part.len() < 5 {
            get(&server, Act::Ok).await.unwrap();
        }
        assert_eq!(raw::code(response.await.unwrap()).await, Code::DeadlineExceeded);
    }
    get(&server, Act::Ok).await.unwrap();
}

#[tokio::test]
async fn second_message_in_a_request_is_rejected() {
    let (server, _connector) = limited(Limits::default()).await;
    let stream = TcpStream::connect(server.grpc).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let (response, mut body) =
        client.send_request(raw::request(server.grpc, "GetTask"), false).unwrap();
    let twice = raw::framed(&message(Act::Ok)).repeat(2);
    body.send_data(twice.into(), true).unwrap();
    assert_eq!(raw::code(response.await.unwrap()).await, Code::InvalidArgument);
}

#[tokio::test]
async fn client_that_does_not_read_its_response_is_disconnected_and_its_permits_are_released() {
    let limits =
        Limits { calls: 1, response_read_timeout: Duration::from_millis(100), ..Limits::default() };
    let (server, _connector) = limited(limits).await;
    let stream = TcpStream::connect(server.grpc).await.unwrap();
    let (client, connection) = h2::client::Builder::new()
        // Allows the server to send no byte of a response.
        .initial_window_size(0)
        .handshake::<_, bytes::Bytes>(stream)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let (response, mut body) =
        client.send_request(raw::request(server.grpc, "GetTask"), false).unwrap();
    body.send_data(raw::framed(&message(Act::Ok)).into(), true).unwrap();
    let _unread = response.await.unwrap();
    let _closed_by_the_server = connection.await.unwrap();
    get(&server, Act::Ok).await.unwrap();
}
