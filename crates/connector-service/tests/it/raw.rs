//! gRPC over a raw h2 client, for requests that no gRPC client sends.

use std::net::SocketAddr;

use tonic::Code;

/// The headers of a call.
pub fn request(server: SocketAddr, method: &str) -> http::Request<()> {
    let uri = format!("http://{server}/flyteidl2.connector.AsyncConnectorService/{method}");
    http::Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

/// Encodes a message with its length prefix.
pub fn framed(message: &impl prost::Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0], length.as_slice(), &bytes].concat()
}

/// Returns the status code of a response.
pub async fn code(mut response: http::Response<h2::RecvStream>) -> Code {
    let of = |headers: &http::HeaderMap| {
        headers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()))
    };
    if let Some(code) = of(response.headers()) {
        return code;
    }
    while let Some(bytes) = response.body_mut().data().await {
        let length = bytes.unwrap().len();
        response.body_mut().flow_control().release_capacity(length).unwrap();
    }
    of(&response.body_mut().trailers().await.unwrap().unwrap()).unwrap()
}
