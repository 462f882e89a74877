//! The gRPC services over a registry of connectors.
//!
//! Handlers look up the connector and translate between gRPC and `connector_core`. [`call`] does what all calls share:
//! deadline, log line, metrics. Checks that need no knowledge of the message belong in `transport`.

mod async_connector;
mod call;
mod create_dedup;
mod guard;
mod log_stream;
mod metadata;
#[cfg(test)]
mod tests;

pub(crate) use async_connector::AsyncConnector;
pub(crate) use call::Calls;
pub(crate) use create_dedup::CreateDedup;
pub(crate) use metadata::ConnectorMetadata;
