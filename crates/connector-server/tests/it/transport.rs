//! TLS and authorization flags of the binary. What they do is tested in `connector-service`.

use connector_service::TlsFiles;
use flyteidl2::connector::{
    GetTaskRequest, TaskCategory, async_connector_service_client::AsyncConnectorServiceClient,
};
use tonic::{Code, Request, transport::Channel};

use crate::{
    authority::{Authority, Client, Files},
    cli::Serving,
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
async fn caller_tokens_are_in_no_log_line_of_any_level() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), TOKEN).unwrap();
    let flags = format!("--caller-tokens {}", file.path().display());
    let mut serving = Serving::start(&flags, &[("RUST_LOG", "trace")]);
    let wrong = "canary-which-is-wrong-0123456789";
    // The log is read in between, for a full pipe would stop the server.
    assert_eq!(get(serving.channel().await, Some(TOKEN)).await, Code::NotFound);
    serving.line("call answered with an error");
    assert_eq!(get(serving.channel().await, Some(wrong)).await, Code::Unauthenticated);
    serving.line("a call was refused at the door");
    serving.signal("TERM");
    let before = std::mem::take(&mut serving.read);
    let (code, after) = serving.end();
    assert_eq!(code, Some(0));
    assert!(before.contains(r#""level":"TRACE""#), "{before}");
    assert!(!before.contains("canary") && !after.contains("canary"), "{before}{after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_files_come_from_flags_and_variables_and_the_start_is_logged() {
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
    let serving = Serving::start(&flags, &variables);
    let address = serving.grpc.parse().unwrap();
    for (name, expected) in
        [("flyte.example", Code::InvalidArgument), ("other.example", Code::PermissionDenied)]
    {
        let client = Client::new(&authority, Some(&authority.identity(&[name])));
        let channel = client.channel(address).await.unwrap();
        // The meta is of no run, which only those who may call are told.
        let request = GetTaskRequest {
            resource_meta: b"{}".to_vec(),
            task_category: Some(TaskCategory { name: "databricks".to_owned(), version: 0 }),
            ..Default::default()
        };
        let answer = AsyncConnectorServiceClient::new(channel).get_task(request).await;
        assert_eq!(answer.unwrap_err().code(), expected, "{name}");
    }
    assert_eq!(serving.listener["tls"], "on, client certificates required");
    assert!(serving.listener["callers"].as_str().unwrap().contains("--caller-names"));
}
