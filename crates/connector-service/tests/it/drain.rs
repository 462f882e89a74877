//! Graceful shutdown.

use std::time::Duration;

use connector_core::Registry;
use connector_service::ServiceConfig;
use flyteidl2::connector::GetTaskRequest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    eventually::until,
    raw,
    scripted::{Act, Meta, Scripted, category, create, start_scripted},
    server::{config, start},
};

/// A frame of HTTP/2 (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let stream = stream.to_be_bytes();
    [&length[1..], &[kind, flags], stream.as_slice(), payload].concat()
}

/// Encodes a `GetTask` as frames. Client libraries open no stream after a GOAWAY, but one may be in transit.
fn call(stream: u32, message: &GetTaskRequest) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).unwrap();
        [&[length], text.as_bytes()].concat()
    };
    // Indexes of HPACK's static table: POST, http, :path, :authority, content-type.
    let head = [
        &[0x83, 0x86, 0x04][..],
        &text("/flyteidl2.connector.AsyncConnectorService/GetTask"),
        &[0x01],
        &text("localhost"),
        &[0x0f, 0x10],
        &text("application/grpc"),
    ]
    .concat();
    [frame(1, 0x4, stream, &head), frame(0, 0x1, stream, &raw::framed(message))].concat()
}

#[tokio::test]
async fn call_after_the_goaway_is_rejected() {
    const GOAWAY: u8 = 7;
    let (server, connector) = start_scripted().await;
    let mut stream = TcpStream::connect(server.grpc).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    stream.write_all(&call(1, &waiting_get())).await.unwrap();
    connector.0.entered.acquire().await.unwrap().forget();

    server.stop.cancel();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == GOAWAY {
            break;
        }
    }
    stream.write_all(&call(3, &waiting_get())).await.unwrap();
    server.scrape_until(r#"refused_total{reason="stopping"} 1"#).await;
    assert_eq!(connector.0.entered.available_permits(), 0);
    connector.0.go.notify_one();
    server.ended.await.unwrap().unwrap();
}

fn waiting_get() -> GetTaskRequest {
    GetTaskRequest {
        resource_meta: Meta::bytes(Act::Wait),
        task_category: Some(category()),
        ..Default::default()
    }
}

#[tokio::test]
async fn in_flight_calls_complete_while_readiness_and_health_report_not_serving() {
    let (server, connector) = start_scripted().await;
    let mut health = HealthClient::new(server.channel.clone());
    let mut watched = Vec::new();
    for service in ["", "flyteidl2.connector.AsyncConnectorService"] {
        let mut watch = health
            .watch(HealthCheckRequest { service: service.to_owned() })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
        watched.push(watch);
    }
    let mut tasks = server.tasks();
    let call = tokio::spawn(async move { tasks.get_task(waiting_get()).await });
    connector.0.entered.acquire().await.unwrap().forget();

    server.stop.cancel();
    for watch in &mut watched {
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    }
    assert_eq!(server.page("/readyz").await.0, 503);
    assert_eq!(server.page("/livez").await.0, 200);
    assert!(!server.ended.is_finished());

    connector.0.go.notify_one();
    call.await.unwrap().unwrap();
    // Watches are ended.
    for watch in &mut watched {
        assert!(watch.message().await.unwrap().is_none());
    }
    server.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn detached_create_completes_before_the_end() {
    let (server, connector) = start_scripted().await;
    let mut tasks = server.tasks();
    let caller = tokio::spawn(async move { tasks.create_task(create(Act::Wait)).await });
    connector.0.entered.acquire().await.unwrap().forget();
    caller.abort();
    server.scrape_until(r#"method="CreateTask",code="CANCELLED"} 1"#).await;

    server.stop.cancel();
    until("the server is not ready", async || server.page("/readyz").await.0 == 503).await;
    assert!(!server.ended.is_finished());
    connector.0.go.notify_one();
    server.ended.await.unwrap().unwrap();
    assert_eq!(connector.0.created.available_permits(), 1);
}

#[tokio::test]
async fn drain_time_ends_a_shutdown_with_a_stuck_call() {
    let connector = Scripted::new();
    let registry = Registry::builder().register(connector.clone()).build().unwrap();
    let server =
        start(ServiceConfig { drain_grace: Duration::from_millis(1), ..config() }, registry).await;
    let mut tasks = server.tasks();
    let call = tokio::spawn(async move { tasks.get_task(waiting_get()).await });
    connector.0.entered.acquire().await.unwrap().forget();
    server.stop.cancel();
    server.ended.await.unwrap().unwrap();
    call.abort();
}

#[tokio::test]
async fn idle_server_stops_immediately() {
    let (server, _connector) = start_scripted().await;
    server.stop.cancel();
    server.ended.await.unwrap().unwrap();
}
