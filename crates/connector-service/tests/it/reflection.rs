//! Server reflection, in both versions.

use connector_core::Registry;
use connector_service::ServiceConfig;
use prost::Message as _;
use prost_types::FileDescriptorProto;
use tonic::Code;
use tonic_reflection::pb::{v1, v1alpha};

use crate::{
    scripted::{Scripted, start_scripted},
    server::{config, start},
};

const SERVICES: [&str; 3] = [
    "flyteidl2.connector.AsyncConnectorService",
    "flyteidl2.connector.ConnectorMetadataService",
    "grpc.health.v1.Health",
];

/// Sends one request of a version. Returns the response or the status.
macro_rules! send {
    ($version:ident, $server:expr, $request:ident($argument:expr)) => {{
        let mut client = $version::server_reflection_client::ServerReflectionClient::new(
            $server.channel.clone(),
        );
        let message =
            $version::server_reflection_request::MessageRequest::$request($argument.to_owned());
        let request = $version::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(message),
        };
        match client.server_reflection_info(futures_util::stream::iter([request])).await {
            Ok(responses) => responses
                .into_inner()
                .message()
                .await
                .map(|response| response.unwrap().message_response.unwrap()),
            Err(status) => Err(status),
        }
    }};
}

macro_rules! lists_services_and_describes_messages {
    ($version:ident) => {{
        use $version::server_reflection_response::MessageResponse;
        let (server, _connector) = start_scripted().await;

        let response = send!($version, server, ListServices("")).unwrap();
        let MessageResponse::ListServicesResponse(listed) = response else {
            panic!("{response:?}")
        };
        let names: Vec<&str> = listed.service.iter().map(|service| service.name.as_str()).collect();
        for service in SERVICES {
            assert!(names.contains(&service), "{service} is not in {names:?}");
        }

        let response =
            send!($version, server, FileContainingSymbol("flyteidl2.connector.CreateTaskRequest"))
                .unwrap();
        let MessageResponse::FileDescriptorResponse(files) = response else {
            panic!("{response:?}")
        };
        let file = FileDescriptorProto::decode(files.file_descriptor_proto[0].as_slice()).unwrap();
        assert!(file.message_type.iter().any(|message| message.name() == "CreateTaskRequest"));
    }};
}

#[tokio::test]
async fn version_1_lists_services_and_describes_messages() {
    lists_services_and_describes_messages!(v1);
}

#[tokio::test]
async fn version_1alpha_lists_services_and_describes_messages() {
    lists_services_and_describes_messages!(v1alpha);
}

#[tokio::test]
async fn reflection_can_be_disabled() {
    let registry = Registry::builder().register(Scripted::new()).build().unwrap();
    let server = start(ServiceConfig { reflection: false, ..config() }, registry).await;
    assert_eq!(send!(v1, server, ListServices("")).unwrap_err().code(), Code::Unimplemented);
}
