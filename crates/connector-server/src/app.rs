//! The server, put together: listeners, services, and the order of a stop.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use connector_core::Registry;
use flyteidl2::connector::{
    async_connector_service_server::AsyncConnectorServiceServer,
    connector_metadata_service_server::ConnectorMetadataServiceServer,
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;
use tonic_reflection::server::Builder as Reflection;
use tracing::{info, warn};

use crate::{
    BindError, ServerConfig,
    admin::{self, Readiness, StatusPage},
    door::{Door, HealthAccess, Rules, Work},
    health,
    listen::bind,
    metrics::Metrics,
    service::{AsyncConnector, Calls, ConnectorMetadata, Creations},
};

/// The largest answer. A Go client takes 4 MiB, others what they like.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// How long streams without an end, such as reflection, may hold a stop up once all calls are answered.
const LINGER: Duration = Duration::from_secs(1);

/// A server that listens and does not serve yet.
#[derive(Debug)]
pub struct App {
    grpc: TcpListener,
    prometheus: TcpListener,
    grpc_address: SocketAddr,
    prometheus_address: SocketAddr,
    registry: Registry,
    config: ServerConfig,
}

/// The server cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The descriptors for reflection do not fit together: a fault of this program.
    #[error("the reflection service cannot be built")]
    Reflection(#[source] tonic_reflection::server::Error),
}

impl App {
    /// Takes both ports. From here on a client's connection waits instead of being refused.
    ///
    /// # Errors
    ///
    /// [`BindError`] when a port is taken or the interface is not of this machine.
    pub async fn bind(config: ServerConfig, registry: Registry) -> Result<Self, BindError> {
        let host = config.host.as_deref();
        let (grpc, grpc_address) = take(host, config.grpc_port, "--port").await?;
        let (prometheus, prometheus_address) =
            take(host, config.prometheus_port, "--prometheus-port").await?;
        Ok(Self { grpc, prometheus, grpc_address, prometheus_address, registry, config })
    }

    /// Where gRPC is served.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Where metrics, /livez, /readyz and /status are served.
    pub fn prometheus_address(&self) -> SocketAddr {
        self.prometheus_address
    }

    /// Serves until `shutdown` is done, then drains: readiness goes first, then health, then the listener; calls in
    /// flight and tasks being created finish within the grace time, and the metrics can be read until the end, for which
    /// the end waits a while when somebody reads them.
    ///
    /// # Errors
    ///
    /// [`ServeError`] when a service cannot be built.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
        let Self { grpc, prometheus, registry, config, .. } = self;
        let metrics = Metrics::new(registry.task_types()).with_counts_of(registry.clone());
        let metrics = Arc::new(metrics);
        let readiness = Readiness::default();
        let tracker = TaskTracker::new();
        let (mut health, health_service) = health::serving().await;

        let creations = Creations::new(config.abandon_grace);
        let status = config.status.then(|| StatusPage::now(registry.clone(), tracker.clone()));
        let calls = Calls::new(
            registry.clone(),
            Arc::clone(&metrics),
            tracker.clone(),
            creations.clone(),
            config.default_timeout,
        );
        let mut routes = Routes::default()
            .add_service(
                AsyncConnectorServiceServer::new(AsyncConnector::new(calls))
                    .max_decoding_message_size(
                        usize::try_from(config.limits.message_bytes).unwrap_or(usize::MAX),
                    )
                    .max_encoding_message_size(MAX_ANSWER_BYTES),
            )
            .add_service(ConnectorMetadataServiceServer::new(ConnectorMetadata::new(
                registry,
                Arc::clone(&metrics),
            )));
        if config.health != HealthAccess::Off {
            routes = routes.add_service(health_service);
        }
        if config.reflection {
            routes = routes
                .add_service(reflection().build_v1().map_err(ServeError::Reflection)?)
                .add_service(reflection().build_v1alpha().map_err(ServeError::Reflection)?);
        }

        let stop = CancellationToken::new();
        // They end with this future.
        let mut followers = JoinSet::new();
        if let Some(tls) = config.tls.clone() {
            followers.spawn(tls.follow(config.reload_every));
        }
        followers.spawn(config.callers.clone().follow(config.reload_every));
        let rules = Rules {
            tls: config.tls,
            callers: config.callers,
            health: config.health,
            limits: config.limits,
            default_timeout: config.default_timeout,
        };
        let work = Work { all: tracker.clone(), unawaited: creations.unawaited().clone() };
        let door = Door::new(routes, rules, Arc::clone(&metrics), work, stop.clone());
        let mut grpc = pin!(door.serve(grpc));
        let pages = admin::router(Arc::clone(&metrics), readiness.clone(), status);
        let mut prometheus = pin!(admin::serve(prometheus, pages));
        readiness.set(true);

        tokio::select! {
            never = &mut prometheus => match never {},
            () = &mut grpc => return Ok(()),
            () = shutdown => {}
        }

        info!(calls = tracker.len(), "stopping: calls in flight may finish");
        readiness.set(false);
        health.not_serving().await;
        stop.cancel();
        let stopping = tokio::time::Instant::now();
        // Work that nobody got is given up while there is still time for it.
        creations.end_graces(tokio::time::Instant::now() + config.drain_grace.mul_f64(0.8));
        tracker.close();
        let mut answered = pin!(async {
            tracker.wait().await;
            health.end_watches().await;
        });
        let drained = async {
            tokio::select! {
                () = &mut grpc => answered.await,
                () = &mut answered => {
                    let _lingering = tokio::time::timeout(LINGER, &mut grpc).await;
                }
            }
        };
        let ended = async {
            if tokio::time::timeout(config.drain_grace, drained).await.is_err() {
                warn!(
                    calls = tracker.len(),
                    "stopped: calls were still in flight at the end of the grace time"
                );
                return;
            }
            let left = config.drain_grace.saturating_sub(stopping.elapsed());
            let wait = config.last_scrape.min(left);
            if tokio::time::timeout(wait, metrics.last_scrape()).await.is_err() {
                info!("nobody read the metrics after the last call");
            }
            info!("stopped: every call was answered");
        };
        tokio::select! {
            () = ended => Ok(()),
            never = &mut prometheus => match never {},
        }
    }
}

async fn take(
    host: Option<&str>,
    port: u16,
    flag: &'static str,
) -> Result<(TcpListener, SocketAddr), BindError> {
    let listener = bind(host, port, flag).await?;
    let address =
        listener.local_addr().map_err(|source| BindError::Other { port, flag, source })?;
    Ok((listener, address))
}

fn reflection() -> Reflection<'static> {
    Reflection::configure()
        .register_encoded_file_descriptor_set(flyteidl2::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // So that a caller's tool can show the details of an error.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}
