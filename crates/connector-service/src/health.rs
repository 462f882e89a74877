//! The gRPC health service.

use flyteidl2::connector::{
    async_connector_service_server::SERVICE_NAME as ASYNC_CONNECTOR,
    connector_metadata_service_server::SERVICE_NAME as CONNECTOR_METADATA,
};
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer, SERVICE_NAME as HEALTH},
    server::{HealthReporter, health_reporter},
};

/// The names under which one may ask; "" is the server as a whole. The Python server has the same (FC §2.3).
const NAMES: [&str; 4] = [ASYNC_CONNECTOR, CONNECTOR_METADATA, HEALTH, ""];

/// Says to the health service how the server is.
#[derive(Debug)]
pub(crate) struct HealthSwitch(HealthReporter);

/// The service, with every name serving.
pub(crate) async fn serving() -> (HealthSwitch, HealthServer<impl Health>) {
    let (reporter, service) = health_reporter();
    for name in NAMES {
        reporter.set_service_status(name, ServingStatus::Serving).await;
    }
    (HealthSwitch(reporter), service)
}

impl HealthSwitch {
    /// Says that nothing new should come. Each name has to be told by itself.
    pub(crate) async fn not_serving(&self) {
        for name in NAMES {
            self.0.set_service_status(name, ServingStatus::NotServing).await;
        }
    }

    /// Ends the streams of those who watch: a watch has no end of its own and would hold up a drain.
    pub(crate) async fn end_watches(&mut self) {
        for name in NAMES {
            self.0.clear_service_status(name).await;
        }
    }
}
