//! State that all log sources share while one page is read.

use std::{sync::Arc, time::Instant};

use connector_core::Error;
use databricks_client::{Client, ErrorKind, jobs::Run};

use super::{events::Event, page::Page};
use crate::known_clusters::KnownClusters;
use task_storage::LogStorage;

/// Why reading stops before the page is full.
#[derive(Debug)]
pub(super) enum Interrupt {
    /// A transient failure; the next page continues at the same position.
    Transient,
    /// A permanent failure.
    Permanent(Error),
}

/// One page being read, and what its sources need.
#[derive(Debug)]
pub(super) struct ReadSession<'a> {
    pub(super) client: &'a Client,
    pub(super) run: &'a Run,
    pub(super) known_clusters: &'a KnownClusters,
    pub(super) storage: &'a Arc<dyn LogStorage>,
    /// The caller's deadline.
    pub(super) deadline: Option<Instant>,
    pub(super) page: Page,
}

impl ReadSession<'_> {
    /// Adds an event of the run as a system line.
    pub(super) fn push_event(&mut self, prefix: &str, event: &Event) {
        self.page.push_system(prefix, &event.text, event.at);
    }
}

/// Whether a failure is transient. A body that is not from the API comes from a proxy, or is damaged for good.
pub(super) fn is_transient(error: &databricks_client::Error) -> bool {
    error.is_retryable() || error.kind() == ErrorKind::Decode
}
