//! Limits of connections: number, handshake time, pings and age.

use std::time::Duration;

use connector_core::Registry;
use connector_service::{Limits, ServiceConfig};
use flyteidl2::connector::GetTaskRequest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::Code;

use crate::{
    raw,
    scripted::{Act, Meta, Scripted, category},
    server::{Running, config, start},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

async fn limited(limits: Limits) -> (Running, Scripted) {
    let connector = Scripted::new();
    let registry = Registry::builder().register(connector.clone()).build().unwrap();
    (start(ServiceConfig { limits, ..config() }, registry).await, connector)
}

async fn get(server: &Running, act: Act) -> Result<(), tonic::Status> {
    let request = GetTaskRequest {
        resource_meta: Meta::bytes(act),
        task_category: Some(category()),
        ..Default::default()
    };
    server.tasks().get_task(request).await.map(|_| ())
}

/// Reads until the server closes or resets the connection.
async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let _reset_counts_too = stream.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn connection_beyond_the_limit_is_closed_until_another_one_ends() {
    // The helper's channel is one of the two.
    let limits =
        Limits { connections: 2, handshake_time: Duration::from_hours(1), ..Limits::default() };
    let (server, _connector) = limited(limits).await;
    let second = TcpStream::connect(server.grpc).await.unwrap();
    closed(&mut TcpStream::connect(server.grpc).await.unwrap()).await;
    get(&server, Act::Ok).await.unwrap();

    drop(second);
    loop {
        let stream = TcpStream::connect(server.grpc).await.unwrap();
        // Closed until the server has noticed the end of the second one.
        if let Ok((_client, connection)) = h2::client::handshake(stream).await
            && tokio::time::timeout(Duration::from_millis(20), connection).await.is_err()
        {
            break;
        }
    }
}

#[tokio::test]
async fn silent_client_is_closed_and_blocks_no_other() {
    let limits =
        Limits { handshakes: 1, handshake_time: Duration::from_millis(50), ..Limits::default() };
    let (server, _connector) = limited(limits).await;
    let mut silent = TcpStream::connect(server.grpc).await.unwrap();
    let mut slow = TcpStream::connect(server.grpc).await.unwrap();
    slow.write_all(&PREFACE[..23]).await.unwrap();
    closed(&mut silent).await;
    closed(&mut slow).await;
    get(&server, Act::Ok).await.unwrap();
}

#[tokio::test]
async fn unfinished_handshakes_are_evicted_by_newer_ones() {
    let limits =
        Limits { handshakes: 3, handshake_time: Duration::from_hours(1), ..Limits::default() };
    let (server, _connector) = limited(limits).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(TcpStream::connect(server.grpc).await.unwrap());
    }
    let endpoint = tonic::transport::Endpoint::new(format!("http://{}", server.grpc)).unwrap();
    endpoint.connect().await.unwrap();
    // All but the last three, minus one for the client that came after them.
    for stream in &mut silent[..7] {
        closed(stream).await;
    }
}

#[tokio::test]
async fn other_protocols_are_closed_immediately() {
    let limits = Limits { handshake_time: Duration::from_hours(1), ..Limits::default() };
    let (server, _connector) = limited(limits).await;
    for bytes in [&b"\x16\x03\x01\x02\0"[..], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = TcpStream::connect(server.grpc).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        closed(&mut stream).await;
    }
}

#[tokio::test]
async fn peer_that_does_not_answer_pings_is_closed() {
    let limits = Limits {
        ping_after: Duration::from_millis(10),
        ping_answer: Duration::from_millis(10),
        ..Limits::default()
    };
    let (server, _connector) = limited(limits).await;
    let mut dead = TcpStream::connect(server.grpc).await.unwrap();
    dead.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
    closed(&mut dead).await;
    // The helper's client answers pings.
    get(&server, Act::Ok).await.unwrap();
}

#[tokio::test]
async fn old_connection_gets_a_goaway_and_its_call_completes() {
    let limits = Limits { connection_age: Some(Duration::from_millis(20)), ..Limits::default() };
    let (server, connector) = limited(limits).await;
    let stream = TcpStream::connect(server.grpc).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let mut client = client.ready().await.unwrap();
    // Spawned, so that the client reads meanwhile.
    let connection = tokio::spawn(connection);
    let (response, mut body) =
        client.send_request(raw::request(server.grpc, "GetTask"), false).unwrap();
    body.send_data(raw::framed(&waiting()).into(), true).unwrap();
    connector.0.entered.acquire().await.unwrap().forget();

    // After the GOAWAY no new call can begin. The old one continues.
    while client.clone().ready().await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    connector.0.go.notify_one();
    assert_eq!(raw::code(response.await.unwrap()).await, Code::Ok);
    drop(client);
    connection.await.unwrap().unwrap();
    // A new connection is accepted.
    get(&server, Act::Ok).await.unwrap();
}

#[tokio::test]
async fn call_beyond_the_grace_of_an_old_connection_is_cut_off() {
    let limits = Limits {
        connection_age: Some(Duration::from_millis(20)),
        connection_age_grace: Duration::from_millis(20),
        ..Limits::default()
    };
    let (server, _connector) = limited(limits).await;
    get(&server, Act::Wait).await.unwrap_err();
}

fn waiting() -> GetTaskRequest {
    GetTaskRequest {
        resource_meta: Meta::bytes(Act::Wait),
        task_category: Some(category()),
        ..Default::default()
    }
}
