//! Configuration of the gRPC port.

use std::time::Duration;

use super::{
    authorization::{Callers, HealthAccess},
    limits::Limits,
    tls::Tls,
};

/// Configuration of the gRPC port.
#[derive(Debug)]
pub(crate) struct TransportConfig {
    pub(crate) tls: Option<Tls>,
    pub(crate) callers: Callers,
    pub(crate) health: HealthAccess,
    pub(crate) limits: Limits,
    pub(crate) default_timeout: Duration,
}
