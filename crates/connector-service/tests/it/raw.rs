//! gRPC by hand over an h2 client, for what no gRPC client does.

use std::net::SocketAddr;

use tonic::Code;

/// The head of a call.
pub fn request(server: SocketAddr, method: &str) -> http::Request<()> {
    let uri = format!("http://{server}/flyteidl2.connector.AsyncConnectorService/{method}");
    http::Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

/// A message as gRPC puts it on the wire.
pub fn framed(message: &impl prost::Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0], length.as_slice(), &bytes].concat()
}

/// The code that an answer ends with.
pub async fn code(mut answer: http::Response<h2::RecvStream>) -> Code {
    let of = |headers: &http::HeaderMap| {
        headers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()))
    };
    if let Some(code) = of(answer.headers()) {
        return code;
    }
    while let Some(bytes) = answer.body_mut().data().await {
        let length = bytes.unwrap().len();
        answer.body_mut().flow_control().release_capacity(length).unwrap();
    }
    of(&answer.body_mut().trailers().await.unwrap().unwrap()).unwrap()
}
