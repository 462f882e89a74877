//! A program that was built without traces.

use std::sync::Arc;

use databricks_connector::Propagate;
use tonic::{Code, metadata::MetadataMap};
use tracing::Span;
use tracing_subscriber::layer::Identity;

use super::ENDPOINT;
use crate::ConfigError;

/// What exports them: there is none.
#[derive(Debug)]
pub(crate) enum Traces {}

/// Says that there are none here.
pub(crate) fn start() -> Result<Traces, ConfigError> {
    let why = "this program was built without traces: build it with `--features otel`, or unset the variable";
    Err(ConfigError::new(ENDPOINT, why))
}

impl Traces {
    pub(crate) fn layer(&self) -> Identity {
        match *self {}
    }

    pub(crate) fn propagate(&self) -> Arc<dyn Propagate> {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "with traces it waits")]
    pub(crate) async fn finish(self) {
        match self {}
    }
}

pub(crate) fn accept(_span: &Span, _metadata: &MetadataMap) {}

pub(crate) fn answered(_span: &Span, _code: Code) {}
