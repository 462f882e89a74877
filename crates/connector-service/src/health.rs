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

/// Service names that health reports; "" is the whole server. The Python server has the same ones
/// (flyte-contract.md#python-server).
const NAMES: [&str; 4] = [ASYNC_CONNECTOR, CONNECTOR_METADATA, HEALTH, ""];

/// Controls the health service.
#[derive(Debug)]
pub(crate) struct HealthControl(HealthReporter);

/// Returns the service, with every name serving.
pub(crate) async fn serving() -> (HealthControl, HealthServer<impl Health>) {
    let (reporter, service) = health_reporter();
    for name in NAMES {
        reporter.set_service_status(name, ServingStatus::Serving).await;
    }
    (HealthControl(reporter), service)
}

impl HealthControl {
    /// Reports `NOT_SERVING` for every name.
    pub(crate) async fn set_not_serving(&self) {
        for name in NAMES {
            self.0.set_service_status(name, ServingStatus::NotServing).await;
        }
    }

    /// Ends all watches, which are endless and would delay shutdown.
    pub(crate) async fn end_watches(&mut self) {
        for name in NAMES {
            self.0.clear_service_status(name).await;
        }
    }
}
