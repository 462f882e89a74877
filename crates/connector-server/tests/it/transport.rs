//! TLS and authorization flags of the binary. `connector-service` tests their effect.

use connector_service::TlsFiles;
use flyteidl2::connector::{
    GetTaskRequest, async_connector_service_client::AsyncConnectorServiceClient,
};
use tonic::{Code, Request, transport::Channel};

use crate::{
    authority::{Authority, Client, Files},
    process::ServerProcess,
    workspace::task_category,
};

const TOKEN: &str = "canary-0123456789abcdef";

/// Gets a task of a type that no connector serves.
async fn get(channel: Channel, token: Option<&str>) -> Code {
    let mut request = Request::new(GetTaskRequest::default());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    AsyncConnectorServiceClient::new(channel).get_task(request).await.unwrap_err().code()
}

#[tokio::test(flavor = "multi_thread")]
async fn caller_tokens_are_not_logged_at_any_level() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), TOKEN).unwrap();
    let flags = format!("--caller-tokens {}", file.path().display());
    let mut process = ServerProcess::start(&flags, &[("RUST_LOG", "trace")]);
    let wrong = "canary-which-is-wrong-0123456789";
    // Reads the log between the calls, because a full pipe would block the server.
    assert_eq!(get(process.channel().await, Some(TOKEN)).await, Code::NotFound);
    process.wait_for_line("call answered with an error");
    assert_eq!(get(process.channel().await, Some(wrong)).await, Code::Unauthenticated);
    process.wait_for_line("call rejected by the transport");
    process.signal("TERM");
    let before = std::mem::take(&mut process.log);
    let (code, after) = process.wait();
    assert_eq!(code, Some(0));
    assert!(before.contains(r#""level":"TRACE""#), "{before}");
    assert!(!before.contains("canary") && !after.contains("canary"), "{before}{after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_files_of_flags_and_variables_are_used_and_logged() {
    let authority = Authority::new();
    let server = authority.identity(&["localhost"]);
    let files = Files::new(&server, Some(&authority));
    let TlsFiles { cert, key, client_ca } = files.named();
    let client_ca = client_ca.unwrap();
    let flags = format!("--tls-cert {} --tls-key {}", cert.display(), key.display());
    let variables = [
        ("FLYTE_CONNECTOR_TLS_CLIENT_CA", client_ca.to_str().unwrap()),
        ("FLYTE_CONNECTOR_CALLER_NAMES", "flyte.example"),
    ];
    let process = ServerProcess::start(&flags, &variables);
    let address = process.grpc.parse().unwrap();
    for (name, expected) in
        [("flyte.example", Code::InvalidArgument), ("other.example", Code::PermissionDenied)]
    {
        let client = Client::new(&authority, Some(&authority.identity(&[name])));
        let channel = client.channel(address).await.unwrap();
        // Only authorized callers learn that the resource_meta is invalid.
        let request = GetTaskRequest {
            resource_meta: b"{}".to_vec(),
            task_category: Some(task_category()),
            ..Default::default()
        };
        let answer = AsyncConnectorServiceClient::new(channel).get_task(request).await;
        assert_eq!(answer.unwrap_err().code(), expected, "{name}");
    }
    assert_eq!(process.listener["tls"], "on, client certificates required");
    assert!(process.listener["callers"].as_str().unwrap().contains("--caller-names"));
}
