//! More calls, bytes and patience than the server has.

use std::{sync::atomic::Ordering, time::Duration};

use connector_core::Registry;
use connector_service::{Limits, ServiceConfig};
use flyteidl2::connector::{
    CreateTaskRequest, GetTaskRequest, async_connector_service_client::AsyncConnectorServiceClient,
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::net::TcpStream;
use tonic::{Code, Status, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;

use crate::{
    raw,
    scripted::{Act, Meta, Scripted, category, create},
    server::{Running, config, start},
};

async fn limited(limits: Limits) -> (Running, Scripted) {
    let connector = Scripted::new();
    let registry = Registry::builder().register(connector.clone()).build().unwrap();
    (start(ServiceConfig { limits, ..config() }, registry).await, connector)
}

fn message(act: Act) -> GetTaskRequest {
    GetTaskRequest {
        resource_meta: Meta::bytes(act),
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
async fn of_ten_thousand_calls_at_once_no_more_run_than_may_and_the_rest_is_told_when_to_come_back()
{
    const CONNECTIONS: usize = 10;
    const CALLS: usize = 10_000;
    const RUN: usize = 100;
    const WAIT: usize = 200;
    let limits = Limits { calls: RUN, queued: WAIT, ..Limits::default() };
    let (server, connector) = limited(limits).await;
    let mut calls = FuturesUnordered::new();
    for _ in 0..CONNECTIONS {
        let endpoint = Endpoint::new(format!("http://{}", server.grpc)).unwrap();
        let tasks = AsyncConnectorServiceClient::new(endpoint.connect().await.unwrap());
        for _ in 0..CALLS / CONNECTIONS {
            let mut tasks = tasks.clone();
            calls.push(tokio::spawn(async move {
                tasks.get_task(message(Act::Hold)).await.map(|_| ())
            }));
        }
    }
    // None of those who are in goes out before all others were refused.
    for _ in 0..CALLS - RUN - WAIT {
        let refused = calls.next().await.unwrap().unwrap().unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
        let millis = pushback(&refused);
        assert!((500..=1500).contains(&millis), "{millis}");
        let delay = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert_eq!(delay.as_millis(), u128::try_from(millis).unwrap());
    }
    assert_eq!(connector.0.most_inside.load(Ordering::SeqCst), RUN);
    // Those who watch the server's health are not kept out.
    let mut health = HealthClient::new(server.channel.clone());
    health.check(HealthCheckRequest::default()).await.unwrap();

    connector.0.release.add_permits(RUN + WAIT);
    while let Some(answer) = calls.next().await {
        answer.unwrap().unwrap();
    }
    assert_eq!(connector.0.most_inside.load(Ordering::SeqCst), RUN);
    assert_eq!(connector.0.inside.load(Ordering::SeqCst), 0);
    server.scrape_until(&format!(r#"refused_total{{reason="busy"}} {}"#, CALLS - RUN - WAIT)).await;
    // All places are free again.
    connector.0.release.add_permits(1);
    get(&server, Act::Hold).await.unwrap();
}

#[tokio::test]
async fn a_call_that_waits_in_vain_is_refused_before_its_caller_leaves() {
    let (server, connector) = limited(Limits { calls: 1, ..Limits::default() }).await;
    let mut tasks = server.tasks();
    let running = tokio::spawn(async move { tasks.get_task(message(Act::Hold)).await.map(|_| ()) });
    connector.0.entered.acquire().await.unwrap().forget();
    let refused = answered_in_time(&server, &message(Act::Ok)).await;
    assert_eq!(refused["grpc-status"], "8", "{refused:?}");
    assert!(refused["grpc-retry-pushback-ms"].to_str().unwrap().parse::<i64>().unwrap() > 0);
    connector.0.release.add_permits(1);
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_sends_waiting_calls_elsewhere_and_lets_running_ones_finish() {
    let (server, connector) = limited(Limits { calls: 1, ..Limits::default() }).await;
    let call = |act| {
        let mut tasks = server.tasks();
        tokio::spawn(async move { tasks.get_task(message(act)).await.map(|_| ()) })
    };
    let running = call(Act::Hold);
    connector.0.entered.acquire().await.unwrap().forget();
    let waiting = call(Act::Ok);
    // Sent after it on the same connection: when this is answered, the other has come.
    let mut health = HealthClient::new(server.channel.clone());
    health.check(HealthCheckRequest::default()).await.unwrap();
    server.stop.cancel();
    let sent_away = waiting.await.unwrap().unwrap_err();
    assert_eq!(sent_away.code(), Code::Unavailable, "{sent_away:?}");
    server.scrape_until(r#"refused_total{reason="stopping"} 1"#).await;
    assert!(!server.ended.is_finished());
    connector.0.release.add_permits(1);
    running.await.unwrap().unwrap();
    server.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_unread_and_for_good() {
    let (server, _connector) =
        limited(Limits { message_bytes: 100_000, ..Limits::default() }).await;
    let large = |bytes| GetTaskRequest { output_prefix: "x".repeat(bytes), ..message(Act::Ok) };
    server.tasks().get_task(large(90_000)).await.unwrap();
    let refused = server.tasks().get_task(large(100_000)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(refused.message().contains("this server takes 100000"), "{refused:?}");
    assert_eq!(pushback(&refused), -1);
}

#[tokio::test]
async fn large_messages_wait_for_room_and_small_ones_pass_them() {
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
    // The second is there by now or will be; it does not run.
    get(&server, Act::Ok).await.unwrap();
    assert_eq!(connector.0.entered.available_permits(), 0);
    connector.0.release.add_permits(2);
    for call in both {
        call.await.unwrap().unwrap();
    }
    assert_eq!(connector.0.most_inside.load(Ordering::SeqCst), 1);
}

/// The headers that a `GetTask` with a short deadline is answered with, by a client that does not look at the clock.
async fn answered_in_time(server: &Running, message: &GetTaskRequest) -> http::HeaderMap {
    let stream = TcpStream::connect(server.grpc).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut head = raw::request(server.grpc, "GetTask");
    head.headers_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let (answer, mut body) = client.ready().await.unwrap().send_request(head, false).unwrap();
    body.send_data(raw::framed(message).into(), true).unwrap();
    answer.await.unwrap().headers().clone()
}

/// Begins to create a task and goes away, and waits until the server has seen that for the n-th time.
async fn create_and_leave(server: &Running, connector: &Scripted, bytes: usize, nth: usize) {
    let mut tasks = server.tasks();
    let request = CreateTaskRequest { output_prefix: "x".repeat(bytes), ..create(Act::Hold) };
    let caller = tokio::spawn(async move { tasks.create_task(request).await });
    connector.0.entered.acquire().await.unwrap().forget();
    caller.abort();
    let counted = format!(r#"method="CreateTask",code="CANCELLED"}} {nth}"#);
    server.scrape_until(&counted).await;
}

#[tokio::test]
async fn creating_that_goes_on_without_its_caller_keeps_the_room_of_its_message() {
    let limits = Limits { request_bytes: 1024 * 1024, ..Limits::default() };
    let (server, connector) = limited(limits).await;
    create_and_leave(&server, &connector, 700 * 1024, 1).await;
    let request = || GetTaskRequest { output_prefix: "x".repeat(700 * 1024), ..message(Act::Ok) };
    let refused = answered_in_time(&server, &request()).await;
    assert_eq!(refused["grpc-status"], "8", "{refused:?}");
    connector.0.release.add_permits(1);
    server.tasks().get_task(request()).await.unwrap();
}

#[tokio::test]
async fn with_much_unfinished_work_no_task_is_created_and_other_calls_go_on() {
    let (server, connector) = limited(Limits { calls: 1, ..Limits::default() }).await;
    for nth in 1..=5 {
        create_and_leave(&server, &connector, 0, nth).await;
    }
    let refused = server.tasks().create_task(create(Act::Ok)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    get(&server, Act::Ok).await.unwrap();
    connector.0.release.add_permits(5);
    // Until the work is done.
    while server.tasks().create_task(create(Act::Ok)).await.is_err() {}
}

#[tokio::test]
async fn a_request_that_does_not_come_is_ended_and_keeps_no_place_to_run() {
    let limits = Limits { calls: 1, request_time: Duration::from_millis(100), ..Limits::default() };
    let (server, _connector) = limited(limits).await;
    let stream = TcpStream::connect(server.grpc).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let whole = raw::framed(&message(Act::Ok));
    // Nothing of the message, then all but its end.
    for begun in [&[][..], &whole[..3], &whole[..whole.len() - 1]] {
        let (answer, mut body) =
            client.send_request(raw::request(server.grpc, "GetTask"), false).unwrap();
        body.send_data(begun.to_vec().into(), false).unwrap();
        if begun.len() < 5 {
            get(&server, Act::Ok).await.unwrap();
        }
        assert_eq!(raw::code(answer.await.unwrap()).await, Code::DeadlineExceeded);
    }
    get(&server, Act::Ok).await.unwrap();
}

#[tokio::test]
async fn a_request_that_goes_on_after_its_message_is_refused() {
    let (server, _connector) = limited(Limits::default()).await;
    let stream = TcpStream::connect(server.grpc).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let (answer, mut body) =
        client.send_request(raw::request(server.grpc, "GetTask"), false).unwrap();
    let twice = raw::framed(&message(Act::Ok)).repeat(2);
    body.send_data(twice.into(), true).unwrap();
    assert_eq!(raw::code(answer.await.unwrap()).await, Code::InvalidArgument);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_loses_its_connection_and_gives_its_place_back() {
    let limits = Limits { calls: 1, answer_time: Duration::from_millis(100), ..Limits::default() };
    let (server, _connector) = limited(limits).await;
    let stream = TcpStream::connect(server.grpc).await.unwrap();
    let (client, connection) = h2::client::Builder::new()
        // No byte of an answer may be sent.
        .initial_window_size(0)
        .handshake::<_, bytes::Bytes>(stream)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let (answer, mut body) =
        client.send_request(raw::request(server.grpc, "GetTask"), false).unwrap();
    body.send_data(raw::framed(&message(Act::Ok)).into(), true).unwrap();
    let _unread = answer.await.unwrap();
    let _ended_by_the_server = connection.await.unwrap();
    get(&server, Act::Ok).await.unwrap();
}
