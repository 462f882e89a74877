//! The gRPC service that lists connectors. The executor calls it every 10 s, so its calls are logged at DEBUG.

use std::{sync::Arc, time::Instant};

use connector_core::{ConnectorHandle, Error, Registry};
use flyteidl2::connector::{
    Connector, GetConnectorRequest, GetConnectorResponse, ListConnectorsRequest,
    ListConnectorsResponse, TaskCategory,
    connector_metadata_service_server::ConnectorMetadataService,
};
use tonic::{Code, Request, Response, Status};

use crate::{
    metrics::{Metrics, Operation},
    status,
    transport::CallInfo,
};

/// `ConnectorMetadataService` over a registry.
#[derive(Debug)]
pub(crate) struct ConnectorMetadata {
    pub(crate) registry: Registry,
    pub(crate) metrics: Arc<Metrics>,
}

impl ConnectorMetadata {
    /// Counts and logs the call. It never waits, so it cannot be cancelled.
    fn respond<T>(
        &self,
        operation: Operation,
        arrived: Instant,
        result: Result<T, Error>,
    ) -> Result<Response<T>, Status> {
        let code = result.as_ref().map_or_else(|error| status::code(error.kind()), |_| Code::Ok);
        let duration = arrived.elapsed();
        self.metrics.metadata_call(operation, code, duration);
        tracing::debug!(
            rpc.method = operation.method(),
            rpc.code = status::code_name(code),
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            "call answered"
        );
        result.map(Response::new).map_err(|error| status::from_error(&error))
    }
}

fn arrival<T>(request: &Request<T>) -> Instant {
    request.extensions().get::<CallInfo>().map_or_else(Instant::now, |info| info.arrived)
}

fn describe(connector: &ConnectorHandle) -> Connector {
    Connector {
        name: connector.name().to_owned(),
        supported_task_categories: connector.task_types().iter().map(TaskCategory::from).collect(),
    }
}

#[tonic::async_trait]
impl ConnectorMetadataService for ConnectorMetadata {
    async fn get_connector(
        &self,
        request: Request<GetConnectorRequest>,
    ) -> Result<Response<GetConnectorResponse>, Status> {
        let arrived = arrival(&request);
        let name = request.into_inner().name;
        let found = self.registry.by_name(&name).ok_or_else(|| {
            let known: Vec<&str> =
                self.registry.connectors().iter().map(ConnectorHandle::name).collect();
            Error::not_found(format!("no connector is named `{name}`"))
                .with_hint(format!("this server has {}", known.join(", ")))
        });
        let result = found.map(|found| GetConnectorResponse { connector: Some(describe(found)) });
        self.respond(Operation::GetConnector, arrived, result)
    }

    async fn list_connectors(
        &self,
        request: Request<ListConnectorsRequest>,
    ) -> Result<Response<ListConnectorsResponse>, Status> {
        let connectors = self.registry.connectors().iter().map(describe).collect();
        let result = Ok(ListConnectorsResponse { connectors });
        self.respond(Operation::ListConnectors, arrival(&request), result)
    }
}
