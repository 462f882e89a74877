//! The latest failures, for the status page: time, host, endpoint and kind. Keeps no text of a
//! response.

use std::{collections::VecDeque, time::SystemTime};

use databricks_client::{ErrorKind, Host};

/// The maximum number of failures that are kept.
const MAX_ERRORS: usize = 50;

/// A failed request or token refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastError {
    pub(crate) at: SystemTime,
    pub(crate) host: Host,
    /// The endpoint, or `token`. One of a fixed set.
    pub(crate) endpoint: &'static str,
    pub(crate) kind: ErrorKind,
    /// The status of the response, if there was one.
    pub(crate) status: Option<u16>,
}

impl LastError {
    pub(crate) fn now(
        host: &Host,
        endpoint: &'static str,
        kind: ErrorKind,
        status: Option<u16>,
    ) -> Self {
        Self { at: SystemTime::now(), host: host.clone(), endpoint, kind, status }
    }
}

/// The latest failures. A new one replaces the oldest when the list is full.
#[derive(Debug, Default)]
pub(crate) struct LastErrors(VecDeque<LastError>);

impl LastErrors {
    pub(crate) fn push(&mut self, error: LastError) {
        if self.0.len() >= MAX_ERRORS {
            self.0.pop_front();
        }
        self.0.push_back(error);
    }

    pub(crate) fn latest_first(&self) -> Vec<LastError> {
        self.0.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_errors_replace_oldest() {
        let host = Host::parse("w.cloud.databricks.com").unwrap();
        let mut errors = LastErrors::default();
        for status in 500..600 {
            errors.push(LastError::now(&host, "runs/get", ErrorKind::Unavailable, Some(status)));
        }
        let statuses: Vec<_> = errors.latest_first().iter().map(|error| error.status).collect();
        assert_eq!((statuses.len(), statuses[0]), (MAX_ERRORS, Some(599)));
    }
}
