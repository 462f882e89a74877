//! A server in this process, and its clients.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use connector_core::Registry;
use connector_service::{ServeError, Server, ServiceConfig};
use flyteidl2::connector::{
    async_connector_service_client::AsyncConnectorServiceClient,
    connector_metadata_service_client::ConnectorMetadataServiceClient,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::eventually::until;

pub struct Running {
    pub channel: Channel,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    pub stop: CancellationToken,
    pub ended: JoinHandle<Result<(), ServeError>>,
}

pub fn config() -> ServiceConfig {
    ServiceConfig {
        host: Some(Ipv4Addr::LOCALHOST.to_string()),
        grpc_port: 0,
        prometheus_port: 0,
        last_scrape: Duration::ZERO,
        ..ServiceConfig::default()
    }
}

/// Starts a server and connects a client.
pub async fn start(config: ServiceConfig, registry: Registry) -> Running {
    let running = start_lazy(config, registry).await;
    let channel = Endpoint::new(format!("http://{}", running.grpc)).unwrap();
    Running { channel: channel.connect().await.unwrap(), ..running }
}

/// Starts a server. Its channel connects lazily, because a plaintext channel cannot connect to a TLS port.
pub async fn start_lazy(config: ServiceConfig, registry: Registry) -> Running {
    let server = Server::builder(registry).config(config).bind().await.unwrap();
    let (grpc, http) = (server.grpc_address(), server.prometheus_address());
    let stop = CancellationToken::new();
    let ended = tokio::spawn(server.serve(stop.clone().cancelled_owned()));
    let channel = Endpoint::new(format!("http://{grpc}")).unwrap().connect_lazy();
    Running { channel, grpc, http, stop, ended }
}

impl Running {
    pub fn tasks(&self) -> AsyncConnectorServiceClient<Channel> {
        AsyncConnectorServiceClient::new(self.channel.clone())
    }

    pub fn metadata(&self) -> ConnectorMetadataServiceClient<Channel> {
        ConnectorMetadataServiceClient::new(self.channel.clone())
    }

    pub async fn page(&self, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("http://{}{path}", self.http)).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Scrapes until the metrics contain the text.
    pub async fn scrape_until(&self, text: &str) {
        until(text, async || self.page("/metrics").await.1.contains(text)).await;
    }
}
