//! A server in this process, and clients of it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use connector_core::Registry;
use connector_server::{App, ServeError, ServerConfig};
use flyteidl2::connector::{
    async_connector_service_client::AsyncConnectorServiceClient,
    connector_metadata_service_client::ConnectorMetadataServiceClient,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::scripted::Scripted;

pub struct Running {
    pub channel: Channel,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    pub stop: CancellationToken,
    pub ended: JoinHandle<Result<(), ServeError>>,
}

pub fn config() -> ServerConfig {
    ServerConfig {
        host: Some(Ipv4Addr::LOCALHOST.to_string()),
        grpc_port: 0,
        prometheus_port: 0,
        last_scrape: Duration::ZERO,
        ..ServerConfig::default()
    }
}

/// Starts a server with that registry.
pub async fn start(config: ServerConfig, registry: Registry) -> Running {
    let running = start_unmet(config, registry).await;
    let channel = Endpoint::new(format!("http://{}", running.grpc)).unwrap();
    Running { channel: channel.connect().await.unwrap(), ..running }
}

/// Starts a server whose channel is not connected yet, as it cannot be to one that speaks TLS.
pub async fn start_unmet(config: ServerConfig, registry: Registry) -> Running {
    let app = App::bind(config, registry).await.unwrap();
    let (grpc, http) = (app.grpc_address(), app.prometheus_address());
    let stop = CancellationToken::new();
    let ended = tokio::spawn(app.run(stop.clone().cancelled_owned()));
    let channel = Endpoint::new(format!("http://{grpc}")).unwrap().connect_lazy();
    Running { channel, grpc, http, stop, ended }
}

/// Starts a server with the scripted connector alone.
pub async fn scripted() -> (Running, Scripted) {
    let connector = Scripted::new();
    let registry = Registry::builder().register(connector.clone()).build().unwrap();
    (start(config(), registry).await, connector)
}

impl Running {
    pub fn tasks(&self) -> AsyncConnectorServiceClient<Channel> {
        AsyncConnectorServiceClient::new(self.channel.clone())
    }

    pub fn metadata(&self) -> ConnectorMetadataServiceClient<Channel> {
        ConnectorMetadataServiceClient::new(self.channel.clone())
    }

    pub async fn page(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}{path}", self.http)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Scrapes until the text is there. A hang is ended by the test runner.
    pub async fn scrape_until(&self, text: &str) {
        while !self.page("/metrics").await.1.contains(text) {
            tokio::task::yield_now().await;
        }
    }
}
