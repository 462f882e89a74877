//! The memory of the real binary under requests that are small on the wire and large in memory.
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

use crate::{gated::Gated, raw};

const CALLS: usize = 60;
const NUMBERS: usize = 50_000;

/// A list of numbers: half a megabyte on the wire, 22 in memory, and twice that while a task is created.
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
async fn heavy_requests_to_a_workspace_that_hangs_take_no_more_memory_than_they_may() {
    let workspace = Gated::start().await;
    let serving = Gated::served("--max-requests-mib 64");
    let mut request = workspace.request();
    request.inputs = Some(numbers());
    request.output_prefix = String::new();
    let message = Bytes::from(request.encode_to_vec());
    drop(request);

    let stream = TcpStream::connect(&serving.grpc).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let mut answers = FuturesUnordered::new();
    for nth in 0..CALLS {
        // Tasks of their own: the same one would be created once.
        let prefix = CreateTaskRequest {
            output_prefix: format!("s3://bucket/{nth}"),
            ..CreateTaskRequest::default()
        };
        let prefix = prefix.encode_to_vec();
        let length = u32::try_from(message.len() + prefix.len()).unwrap().to_be_bytes();
        let mut head = raw::request(serving.grpc.parse().unwrap(), "CreateTask");
        head.headers_mut().insert("grpc-timeout", "6S".parse().unwrap());
        let (answer, mut body) = client.send_request(head, false).unwrap();
        body.send_data([&[0], length.as_slice()].concat().into(), false).unwrap();
        body.send_data(message.clone(), false).unwrap();
        body.send_data(prefix.into(), true).unwrap();
        answers.push(async move { raw::code(answer.await.unwrap()).await });
    }
    let (mut refused, mut begun) = (0, 0);
    while let Some(code) = answers.next().await {
        match code {
            Code::ResourceExhausted => refused += 1,
            Code::DeadlineExceeded => begun += 1,
            other => panic!("{other:?}"),
        }
    }
    // Two of them fit, and they are not done when their callers leave. On a slow machine the second may come too late.
    assert!((1..=2).contains(&begun) && begun + refused == CALLS, "{begun}, {refused}");
    let most = serving.most_memory();
    // All of them would take 2.6 GB.
    assert!(most < 400, "{most} MiB");
}
