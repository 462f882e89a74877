//! Starts the fake workspace and the server, and connects clients to it.

use std::{error::Error, net::SocketAddr, sync::Arc};

use connector_core::Registry;
use connector_service::{ServeError, Server, ServiceConfig};
use databricks_connector::{StorageFuture, TaskStorage};
use databricks_emulator::Emulator;
use flyteidl2::connector::{
    CreateTaskRequest, async_connector_service_client::AsyncConnectorServiceClient,
};
use prost::Message as _;
use secrecy::SecretString;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::request::FIRST_ATTEMPT;

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

pub(super) type Client = AsyncConnectorServiceClient<Channel>;

/// The connector's own token. Only the fake workspace accepts it.
const CONNECTOR_TOKEN: &str = "dapi-demo-connector";

/// The token that a task carries. Only the fake workspace accepts it.
pub(super) const TASK_TOKEN: &str = "dapi-demo-task";

/// The running servers of the demo.
#[derive(Debug)]
pub(super) struct Harness {
    pub(super) emulator: Emulator,
    pub(super) grpc_address: SocketAddr,
    server: JoinHandle<Result<(), ServeError>>,
    stop: CancellationToken,
}

impl Harness {
    /// Starts the workspace and the server on free ports of the loopback interface.
    pub(super) async fn start() -> Result<Self, BoxError> {
        let emulator = Emulator::builder().token(CONNECTOR_TOKEN).token(TASK_TOKEN).start().await?;
        let registry = registry(&emulator)?;
        let config = ServiceConfig {
            host: Some("127.0.0.1".to_owned()),
            grpc_port: 0,
            prometheus_port: 0,
            ..ServiceConfig::default()
        };
        let server = Server::builder(registry).config(config).bind().await?;
        let grpc_address = server.grpc_address();
        let stop = CancellationToken::new();
        let server = tokio::spawn(server.serve(stop.clone().cancelled_owned()));
        Ok(Self { emulator, grpc_address, server, stop })
    }

    /// Connects a client to the server.
    pub(super) async fn client(&self) -> Result<Client, BoxError> {
        Ok(Client::connect(format!("http://{}", self.grpc_address)).await?)
    }

    /// Stops the server, then the workspace.
    pub(super) async fn stop(self) -> Result<(), BoxError> {
        self.stop.cancel();
        self.server.await??;
        self.emulator.shutdown().await;
        Ok(())
    }
}

/// Replaces the object store: the first task has written its outputs, no task has written an error file.
#[derive(Debug)]
struct FakeTaskStorage {
    /// The output prefix of the first task.
    written: String,
}

impl TaskStorage for FakeTaskStorage {
    fn read<'a>(&'a self, _: &'a str, _: u64) -> StorageFuture<'a, Option<Vec<u8>>> {
        Box::pin(async { Ok(None) })
    }

    fn size<'a>(&'a self, url: &'a str) -> StorageFuture<'a, Option<u64>> {
        let size = url.starts_with(&self.written).then_some(0);
        Box::pin(async move { Ok(size) })
    }
}

/// Returns the binary's connectors, configured for the fake workspace.
fn registry(emulator: &Emulator) -> Result<Registry, BoxError> {
    let workspace = emulator.https_host();
    let written = CreateTaskRequest::decode(FIRST_ATTEMPT)?.output_prefix;
    Ok(crate::registry(databricks_connector::Config {
        instance: Some(workspace.clone()),
        access_token: Some(SecretString::from(CONNECTOR_TOKEN)),
        allowed_hosts: vec![workspace],
        extra_root_certs_pem: Some(emulator.certificate_pem().as_bytes().to_vec()),
        task_storage: Arc::new(FakeTaskStorage { written }),
        ..databricks_connector::Config::default()
    })?)
}
