//! Memory of the binary under requests that are small on the wire and large once decoded.
#![cfg(target_os = "linux")]

use bytes::Bytes;
use flyteidl2::{
    connector::CreateTaskRequest,
    core::{Literal, LiteralCollection, Primitive, Scalar, literal, primitive, scalar},
    task::{Inputs, NamedLiteral},
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use prost::Message as _;
use tokio::net::TcpStream;
use tonic::Code;

use crate::{paused_workspace::PausedWorkspace, process::ServerProcess, raw};

const CALLS: usize = 60;
const NUMBERS: usize = 50_000;

/// Returns a list of numbers: half a megabyte encoded, 22 MB decoded, and twice that while a task is created.
fn numbers() -> Inputs {
    let number = |number| {
        let primitive = Primitive { value: Some(primitive::Value::Integer(number)) };
        let scalar = Scalar { value: Some(scalar::Value::Primitive(primitive)) };
        Literal { value: Some(literal::Value::Scalar(Box::new(scalar))), ..Literal::default() }
    };
    let literals = (0..i64::try_from(NUMBERS).unwrap()).map(number).collect();
    let list = literal::Value::Collection(LiteralCollection { literals });
    let value = Literal { value: Some(list), ..Literal::default() };
    let named = NamedLiteral { name: "numbers".to_owned(), value: Some(value) };
    Inputs { literals: vec![named], ..Inputs::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_to_an_unresponsive_workspace_stay_within_the_memory_limit() {
    let workspace = PausedWorkspace::start().await;
    let process = ServerProcess::start_for_local_workspaces("--max-requests-mib 64");
    let mut request = workspace.request();
    request.inputs = Some(numbers());
    request.output_prefix = String::new();
    let message = Bytes::from(request.encode_to_vec());
    drop(request);

    let stream = TcpStream::connect(&process.grpc).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let mut responses = FuturesUnordered::new();
    for nth in 0..CALLS {
        // Distinct tasks, because identical requests share one execution.
        let prefix = CreateTaskRequest {
            output_prefix: format!("s3://bucket/{nth}"),
            ..CreateTaskRequest::default()
        };
        let prefix = prefix.encode_to_vec();
        let length = u32::try_from(message.len() + prefix.len()).unwrap().to_be_bytes();
        let mut head = raw::request(process.grpc.parse().unwrap(), "CreateTask");
        head.headers_mut().insert("grpc-timeout", "6S".parse().unwrap());
        let (response, mut body) = client.send_request(head, false).unwrap();
        body.send_data([&[0], length.as_slice()].concat().into(), false).unwrap();
        body.send_data(message.clone(), false).unwrap();
        body.send_data(prefix.into(), true).unwrap();
        responses.push(async move { raw::code(response.await.unwrap()).await });
    }
    let (mut rejected, mut started) = (0, 0);
    while let Some(code) = responses.next().await {
        match code {
            Code::ResourceExhausted => rejected += 1,
            Code::DeadlineExceeded => started += 1,
            other => panic!("{other:?}"),
        }
    }
    // Two requests fit into the limit, and outlive their callers. On a slow machine the second may arrive too late.
    assert!((1..=2).contains(&started) && started + rejected == CALLS, "{started}, {rejected}");
    let peak = process.peak_memory();
    // All requests together would take 2.6 GB.
    assert!(peak < 400, "{peak} MiB");
}
