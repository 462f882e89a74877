//! The three parts of the demo's process: a fake workspace, the server, and a client.

use std::{error::Error, net::SocketAddr, sync::Arc};

use connector_core::Registry;
use connector_service::{ServeError, Server, ServiceConfig};
use databricks_connector::{Looked, Looking, TaskFiles};
use databricks_emulator::Emulator;
use flyteidl2::connector::{
    CreateTaskRequest, async_connector_service_client::AsyncConnectorServiceClient,
};
use prost::Message as _;
use secrecy::SecretString;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::requests::FIRST_ATTEMPT;

/// Any error of the demo.
pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// What the fake workspace knows as the connector's token and as the tasks' token. Worthless anywhere else.
const CONNECTOR_TOKEN: &str = "dapi-demo-connector";
pub(super) const TASK_TOKEN: &str = "dapi-demo-task";

/// A client of the connector service.
pub(super) type Client = AsyncConnectorServiceClient<Channel>;

/// Everything that runs while the demo does.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) emulator: Emulator,
    pub(super) grpc_address: SocketAddr,
    server: JoinHandle<Result<(), ServeError>>,
    stop: CancellationToken,
}

impl Stage {
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

    /// A client over its own connection, as the executor has one.
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

/// Stands in for the object store under the requests' output prefixes: one function left its outputs, and none an
/// error.
#[derive(Debug)]
struct Outputs {
    /// The output prefix of the function that succeeds.
    prefix: String,
}

impl TaskFiles for Outputs {
    fn read<'a>(&'a self, _url: &'a str, _most: u64) -> Looking<'a, Vec<u8>> {
        Box::pin(async { Looked::Absent })
    }

    fn exists<'a>(&'a self, url: &'a str) -> Looking<'a, ()> {
        let left = url.starts_with(&self.prefix);
        Box::pin(async move { if left { Looked::Found(()) } else { Looked::Absent } })
    }
}

/// The connectors of the binary, with the fake workspace as the default one.
fn registry(emulator: &Emulator) -> Result<Registry, BoxError> {
    let workspace = emulator.https_host();
    let prefix = CreateTaskRequest::decode(FIRST_ATTEMPT)?.output_prefix;
    Ok(crate::registry(databricks_connector::Config {
        instance: Some(workspace.clone()),
        access_token: Some(SecretString::from(CONNECTOR_TOKEN)),
        allowed_hosts: vec![workspace],
        extra_roots_pem: Some(emulator.certificate_pem().as_bytes().to_vec()),
        task_files: Arc::new(Outputs { prefix }),
        ..databricks_connector::Config::default()
    })?)
}
