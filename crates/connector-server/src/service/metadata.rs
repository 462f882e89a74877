//! The service that lists the connectors. The executor asks it every 10 s, so its calls are logged for debugging
//! only.

use connector_core::{ConnectorHandle, Error, Registry};
use flyteidl2::connector::{
    Connector, GetConnectorRequest, GetConnectorResponse, ListConnectorsRequest,
    ListConnectorsResponse, TaskCategory,
    connector_metadata_service_server::ConnectorMetadataService,
};
use tonic::{Request, Response, Status};

use crate::status;

/// The service over a registry.
#[derive(Debug)]
pub(crate) struct ConnectorMetadata {
    registry: Registry,
}

impl ConnectorMetadata {
    pub(crate) fn new(registry: Registry) -> Self {
        Self { registry }
    }
}

fn listed(connector: &ConnectorHandle) -> Connector {
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
        let name = request.into_inner().name;
        tracing::debug!(rpc.method = "GetConnector", "call");
        let connector = self.registry.by_name(&name).ok_or_else(|| {
            let known: Vec<&str> =
                self.registry.connectors().iter().map(ConnectorHandle::name).collect();
            let error = Error::not_found(format!("no connector is named `{name}`"));
            status::from_error(&error.with_hint(format!("this server has {}", known.join(", "))))
        })?;
        Ok(Response::new(GetConnectorResponse { connector: Some(listed(connector)) }))
    }

    async fn list_connectors(
        &self,
        _request: Request<ListConnectorsRequest>,
    ) -> Result<Response<ListConnectorsResponse>, Status> {
        tracing::debug!(rpc.method = "ListConnectors", "call");
        let connectors = self.registry.connectors().iter().map(listed).collect();
        Ok(Response::new(ListConnectorsResponse { connectors }))
    }
}
