//! The server: binds the listeners, assembles the services, and shuts down gracefully.

use std::{
    error::Error as StdError,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use connector_core::Registry;
use flyteidl2::connector::{
    async_connector_service_server::AsyncConnectorServiceServer,
    connector_metadata_service_server::ConnectorMetadataServiceServer,
};
use tokio::{net::TcpListener, task::JoinSet, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;
use tonic_reflection::server::Builder as Reflection;
use tracing::{info, warn};

use crate::{
    admin::{self, Readiness, StatusPage},
    config::ServiceConfig,
    failure::Failure,
    health::{self, HealthControl},
    listen::{BindError, bind},
    metrics::Metrics,
    service::{AsyncConnector, Calls, ConnectorMetadata, CreateDedup},
    signals::ShutdownSignals,
    telemetry::Telemetry,
    transport::{Backlog, HealthAccess, Transport, TransportConfig},
};

/// Size of the largest response. Go clients accept 4 MiB by default.
const MAX_RESPONSE_BYTES: usize = 64 * 1024 * 1024;

/// Time that shutdown waits for endless streams, such as reflection, after the last call.
const STREAM_GRACE: Duration = Duration::from_secs(1);

/// A connector server whose ports are bound.
#[derive(Debug)]
pub struct Server {
    grpc: TcpListener,
    prometheus: TcpListener,
    grpc_address: SocketAddr,
    prometheus_address: SocketAddr,
    registry: Registry,
    config: ServiceConfig,
}

/// Builds a [`Server`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `bind` or `run`"]
pub struct ServerBuilder {
    registry: Registry,
    config: ServiceConfig,
}

/// A server cannot serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The descriptors for reflection are inconsistent, which is a bug.
    #[error("the reflection service cannot be built")]
    Reflection(#[source] Box<dyn StdError + Send + Sync>),
}

impl ServerBuilder {
    /// Sets the configuration. The default listens in plaintext on all interfaces and authorizes every caller.
    pub fn config(self, config: ServiceConfig) -> Self {
        Self { config, ..self }
    }

    /// Binds both ports. From now on connections queue instead of being refused.
    ///
    /// # Errors
    ///
    /// [`BindError`] if a port is taken or the interface does not exist.
    pub async fn bind(self) -> Result<Server, BindError> {
        let Self { registry, config } = self;
        let host = config.host.as_deref();
        let (grpc, grpc_address) = listen(host, config.grpc_port, "--port").await?;
        let (prometheus, prometheus_address) =
            listen(host, config.prometheus_port, "--prometheus-port").await?;
        Ok(Server { grpc, prometheus, grpc_address, prometheus_address, registry, config })
    }

    /// Runs the whole program: installs logging, traces and signal handlers, binds, and serves until SIGTERM or SIGINT.
    ///
    /// Blocks the thread and runs its own tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Failure`] for the end of `main`.
    pub fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::new(&error))?;
        let outcome = runtime.block_on(async {
            let telemetry = Telemetry::install(&self.config)?;
            let outcome = self.bind_and_serve().await;
            telemetry.shutdown().await;
            outcome
        });
        // A pending name lookup must not delay the exit.
        runtime.shutdown_background();
        outcome
    }

    async fn bind_and_serve(self) -> Result<(), Failure> {
        let signals = ShutdownSignals::install().map_err(|error| Failure::new(&error))?;
        self.bind().await?.serve_until_signal(signals).await
    }
}

impl Server {
    /// Starts building a server of these connectors.
    pub fn builder(registry: Registry) -> ServerBuilder {
        ServerBuilder { registry, config: ServiceConfig::default() }
    }

    /// Returns the address of the gRPC port.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Returns the address of the port for metrics, /livez, /readyz and /status.
    pub fn prometheus_address(&self) -> SocketAddr {
        self.prometheus_address
    }

    /// Serves until SIGTERM, SIGINT or the end of [`ServiceConfig::stop_after`], then shuts down gracefully. Logs the
    /// configuration first.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the server cannot serve, or if a second signal aborts the shutdown.
    pub async fn serve_until_signal(self, mut signals: ShutdownSignals) -> Result<(), Failure> {
        self.log_configuration();
        let stop_after = self.config.stop_after;
        let shutdown = CancellationToken::new();
        let mut serving = pin!(self.serve(shutdown.clone().cancelled_owned()));
        tokio::select! {
            result = &mut serving => return result.map_err(|error| Failure::new(&error)),
            signal = signals.recv() => info!(signal = signal.name(), "shutdown requested"),
            () = sleep_if(stop_after) => info!("shutdown requested by --timeout"),
        }
        shutdown.cancel();
        tokio::select! {
            result = &mut serving => result.map_err(|error| Failure::new(&error)),
            signal = signals.recv() => Err(Failure::interrupted(signal)),
        }
    }

    fn log_configuration(&self) {
        for connector in self.registry.connectors() {
            let types = connector.task_types();
            let types: Vec<String> = types.iter().map(ToString::to_string).collect();
            info!(
                connector = connector.name(),
                task_types = types.join(", "),
                "connector registered"
            );
        }
        let config = &self.config;
        if !config.ignored_flags.is_empty() {
            info!(flags = config.ignored_flags.join(" "), "flags of c0 without effect");
        }
        let tls = match &config.tls {
            None => "off",
            Some(tls) if tls.verifies_clients() => "on, client certificates required",
            Some(_) => "on",
        };
        info!(address = %self.grpc_address, tls, callers = config.callers.describe(), "gRPC listener");
        if config.tls.is_none() && !config.plaintext {
            warn!(
                "gRPC is served in plaintext, as Flyte's own settings expect: \
                 set --tls-cert and --tls-key, or confirm with --plaintext"
            );
        }
        info!(address = %self.prometheus_address, "HTTP listener for metrics, /livez and /readyz");
    }

    /// Serves until `shutdown` completes, then shuts down gracefully.
    ///
    /// Readiness ends first, then health, then the listener. In-flight calls and background tasks finish within
    /// [`ServiceConfig::drain_grace`]. Metrics stay readable to the end, which waits for a last scrape.
    ///
    /// # Errors
    ///
    /// [`ServeError`] if a service cannot be built.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
        let Self { grpc, prometheus, registry, config, .. } = self;
        let metrics = Arc::new(Metrics::new(registry.task_types()).with_connectors(&registry));
        let readiness = Readiness::default();
        let tracker = TaskTracker::new();
        let (health, health_service) = health::serving().await;
        let status = config.status.then(|| StatusPage::new(registry.clone(), tracker.clone()));
        let calls = Calls {
            registry,
            metrics: Arc::clone(&metrics),
            tracker: tracker.clone(),
            create_dedup: CreateDedup::new(config.abandon_grace),
            default_timeout: config.default_timeout,
        };
        let backlog = Backlog { all: tracker, detached: calls.create_dedup.detached().clone() };
        let mut routes = routes(calls.clone(), &config)?;
        if config.health != HealthAccess::Off {
            routes = routes.add_service(health_service);
        }

        // Aborted when this future is dropped.
        let mut reloaders = JoinSet::new();
        if let Some(tls) = config.tls.clone() {
            reloaders.spawn(tls.reload(config.reload_every));
        }
        reloaders.spawn(config.callers.clone().reload(config.reload_every));

        let stop = CancellationToken::new();
        let drain = Drain {
            readiness: readiness.clone(),
            health,
            stop: stop.clone(),
            calls,
            grace: config.drain_grace,
            last_scrape: config.last_scrape,
        };
        let transport = TransportConfig {
            tls: config.tls,
            callers: config.callers,
            health: config.health,
            limits: config.limits,
            default_timeout: config.default_timeout,
        };
        let transport = Transport::new(routes, transport, Arc::clone(&metrics), backlog, stop);
        let mut grpc = pin!(transport.serve(grpc));
        let pages = admin::router(metrics, readiness.clone(), status);
        let mut http = pin!(admin::serve(prometheus, pages));
        readiness.set(true);

        tokio::select! {
            never = &mut http => match never {},
            () = &mut grpc => return Ok(()),
            () = shutdown => {}
        }
        tokio::select! {
            never = &mut http => match never {},
            () = drain.run(grpc) => Ok(()),
        }
    }
}

/// The graceful shutdown of one server.
struct Drain {
    readiness: Readiness,
    health: HealthControl,
    stop: CancellationToken,
    calls: Calls,
    grace: Duration,
    last_scrape: Duration,
}

impl Drain {
    /// Stops accepting calls, and waits for the present ones and a last scrape. `grpc` serves the connections.
    async fn run(mut self, mut grpc: Pin<&mut (impl Future<Output = ()> + Send)>) {
        info!(calls = self.calls.tracker.len(), "shutting down: in-flight calls may finish");
        self.readiness.set(false);
        self.health.set_not_serving().await;
        self.stop.cancel();
        let began = Instant::now();
        // Leaves time to cancel orphans.
        self.calls.create_dedup.end_grace_periods(began + self.grace.mul_f64(0.8));
        self.calls.tracker.close();
        let mut completed = pin!(async {
            self.calls.tracker.wait().await;
            self.health.end_watches().await;
        });
        let drained = async {
            tokio::select! {
                () = &mut grpc => completed.await,
                () = &mut completed => {
                    let _open_streams = tokio::time::timeout(STREAM_GRACE, &mut grpc).await;
                }
            }
        };
        if tokio::time::timeout(self.grace, drained).await.is_err() {
            warn!(
                calls = self.calls.tracker.len(),
                "stopped: the drain time ended with calls in flight"
            );
            return;
        }
        let left = self.grace.saturating_sub(began.elapsed());
        let wait = self.last_scrape.min(left);
        if tokio::time::timeout(wait, self.calls.metrics.last_scrape()).await.is_err() {
            info!("no metrics scrape followed the last call");
        }
        info!("stopped: all calls are complete");
    }
}

/// Returns the gRPC services without health.
fn routes(calls: Calls, config: &ServiceConfig) -> Result<Routes, ServeError> {
    let metadata =
        ConnectorMetadata { registry: calls.registry.clone(), metrics: Arc::clone(&calls.metrics) };
    let max_request = usize::try_from(config.limits.message_bytes).unwrap_or(usize::MAX);
    let tasks = AsyncConnectorServiceServer::new(AsyncConnector { calls })
        .max_decoding_message_size(max_request)
        .max_encoding_message_size(MAX_RESPONSE_BYTES);
    let routes = Routes::default()
        .add_service(tasks)
        .add_service(ConnectorMetadataServiceServer::new(metadata));
    if !config.reflection {
        return Ok(routes);
    }
    Ok(routes
        .add_service(reflection().build_v1().map_err(inconsistent)?)
        .add_service(reflection().build_v1alpha().map_err(inconsistent)?))
}

fn inconsistent(error: tonic_reflection::server::Error) -> ServeError {
    ServeError::Reflection(error.into())
}

async fn sleep_if(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

async fn listen(
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
        // Lets clients decode error details.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}
