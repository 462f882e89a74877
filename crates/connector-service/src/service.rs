//! The gRPC services. Handlers find the connector, translate, and leave the rest to [`call`].

mod async_connector;
mod call;
mod creations;
mod log_stream;
mod metadata;
mod outcome;
#[cfg(test)]
mod tests;

pub(crate) use async_connector::AsyncConnector;
pub(crate) use call::Calls;
pub(crate) use creations::Creations;
pub(crate) use metadata::ConnectorMetadata;
