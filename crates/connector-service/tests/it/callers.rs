//! Authorization of callers: tokens, names, and services without authorization.

use std::time::Duration;

use connector_core::Registry;
use connector_service::{Callers, HealthAccess, ServiceConfig};
use flyteidl2::connector::{
    GetTaskRequest, ListConnectorsRequest,
    async_connector_service_client::AsyncConnectorServiceClient,
    connector_metadata_service_client::ConnectorMetadataServiceClient,
};
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};
use tonic_types::StatusExt as _;

use crate::{
    authority::{Authority, Client, Files},
    eventually::until,
    scripted::{Act, Meta, Scripted, category},
    server::{Running, config, start_lazy},
};

const TOKEN: &str = "canary-token-0123456789";

async fn serving(config: ServiceConfig) -> Running {
    let registry = Registry::builder().register(Scripted::new()).build().unwrap();
    start_lazy(config, registry).await
}

fn with<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

async fn get(channel: Channel, token: Option<&str>) -> Result<(), Status> {
    let message = GetTaskRequest {
        resource_meta: Meta::bytes(Act::Ok),
        task_category: Some(category()),
        ..Default::default()
    };
    AsyncConnectorServiceClient::new(channel).get_task(with(message, token)).await.map(|_| ())
}

async fn list(channel: Channel, token: Option<&str>) -> Result<(), Status> {
    let request = with(ListConnectorsRequest {}, token);
    ConnectorMetadataServiceClient::new(channel).list_connectors(request).await.map(|_| ())
}

async fn health(channel: Channel, token: Option<&str>) -> Result<(), Status> {
    HealthClient::new(channel).check(with(HealthCheckRequest::default(), token)).await.map(|_| ())
}

async fn reflect(channel: Channel, token: Option<&str>) -> Result<(), Status> {
    let question = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let questions = with(futures_util::stream::iter([question]), token);
    ServerReflectionClient::new(channel).server_reflection_info(questions).await.map(|_| ())
}

fn code(result: Result<(), Status>) -> Code {
    result.err().map_or(Code::Ok, |status| status.code())
}

#[tokio::test]
async fn tokens_are_required_by_every_service_except_health() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), TOKEN).unwrap();
    let callers = Callers::default().with_tokens(file.path().to_owned()).unwrap();
    let server = serving(ServiceConfig { callers, ..config() }).await;
    let channel = || server.channel.clone();
    for (token, expected) in [
        (Some(TOKEN), Code::Ok),
        (Some("another-token-0123456789"), Code::Unauthenticated),
        (None, Code::Unauthenticated),
    ] {
        assert_eq!(code(get(channel(), token).await), expected, "{token:?}");
        assert_eq!(code(list(channel(), token).await), expected, "{token:?}");
        assert_eq!(code(reflect(channel(), token).await), expected, "{token:?}");
        assert_eq!(code(health(channel(), token).await), Code::Ok, "{token:?}");
    }
    let status = get(channel(), None).await.unwrap_err();
    assert_eq!(status.get_details_error_info().unwrap().reason, "UNAUTHENTICATED");
    assert!(status.message().contains("authorization"), "{status:?}");
}

#[tokio::test]
async fn token_is_rotated_without_a_restart() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), TOKEN).unwrap();
    let callers = Callers::default().with_tokens(file.path().to_owned()).unwrap();
    let reload_every = Duration::from_millis(5);
    let server = serving(ServiceConfig { callers, reload_every, ..config() }).await;
    let next = "next-token-0123456789";
    std::fs::write(file.path(), format!("{TOKEN}\n{next}\n")).unwrap();
    until("the new token is accepted", async || {
        get(server.channel.clone(), Some(next)).await.is_ok()
    })
    .await;
    get(server.channel.clone(), Some(TOKEN)).await.unwrap();
    std::fs::write(file.path(), next).unwrap();
    until("the old token is rejected", async || {
        get(server.channel.clone(), Some(TOKEN)).await.is_err()
    })
    .await;
    get(server.channel.clone(), Some(next)).await.unwrap();
}

#[tokio::test]
async fn certificate_of_the_right_authority_needs_an_authorized_name() {
    let authority = Authority::new();
    let files = Files::new(&authority.identity(&["localhost"]), Some(&authority));
    let callers = Callers::default()
        .with_names(["flyte.example", "spiffe://cluster/ns/flyte"].map(str::to_owned));
    let server = serving(ServiceConfig { tls: Some(files.open()), callers, ..config() }).await;
    for (identity, expected) in [
        (authority.identity(&["other.example", "flyte.example"]), Code::Ok),
        (authority.with_uri("spiffe://cluster/ns/flyte"), Code::Ok),
        (authority.identity(&["other.example"]), Code::PermissionDenied),
        (authority.with_uri("spiffe://cluster/ns/other"), Code::PermissionDenied),
        (authority.identity(&[]), Code::PermissionDenied),
    ] {
        let channel = Client::new(&authority, Some(&identity)).channel(server.grpc).await.unwrap();
        assert_eq!(code(get(channel.clone(), None).await), expected);
        assert_eq!(code(health(channel, None).await), Code::Ok);
    }
}

#[tokio::test]
async fn health_access_can_be_restricted_or_disabled() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), TOKEN).unwrap();
    for (access, without, with) in [
        (HealthAccess::Open, Code::Ok, Code::Ok),
        (HealthAccess::Callers, Code::Unauthenticated, Code::Ok),
        (HealthAccess::Off, Code::Unauthenticated, Code::Unimplemented),
    ] {
        let callers = Callers::default().with_tokens(file.path().to_owned()).unwrap();
        let server = serving(ServiceConfig { callers, health: access, ..config() }).await;
        assert_eq!(code(health(server.channel.clone(), None).await), without, "{access:?}");
        assert_eq!(code(health(server.channel.clone(), Some(TOKEN)).await), with, "{access:?}");
    }
}
