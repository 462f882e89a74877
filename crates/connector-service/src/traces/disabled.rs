//! Stand-in for `otlp` in builds without the feature `otel`.

use tonic::{Code, metadata::MetadataMap};
use tracing::Span;
use tracing_subscriber::layer::Identity;

use super::ENDPOINT;
use crate::config_error::ConfigError;

/// A trace exporter, of which there is none.
#[derive(Debug)]
pub(crate) enum Traces {}

impl Traces {
    /// Rejects the configuration.
    pub(crate) fn start(_crates: &'static [&'static str]) -> Result<Self, ConfigError> {
        let message = "this program was built without traces; build with `--features otel` or unset the variable";
        Err(ConfigError::new(ENDPOINT, message))
    }

    pub(crate) fn layer(&self) -> Identity {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "the exporter of `otlp` awaits")]
    pub(crate) async fn shutdown(self) {
        match self {}
    }
}

pub(crate) fn accept(_span: &Span, _metadata: &MetadataMap) {}

pub(crate) fn record_code(_span: &Span, _code: Code) {}

/// Returns no headers: nothing is exported.
pub fn propagation_headers() -> Vec<(&'static str, String)> {
    Vec::new()
}
