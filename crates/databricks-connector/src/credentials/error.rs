use connector_core::Error;

/// Why there is no credential for a run.
#[derive(Debug, Clone)]
pub(crate) struct CredentialError {
    /// True if a later call can succeed although nothing is changed.
    pub(crate) is_transient: bool,
    pub(crate) error: Error,
}

impl CredentialError {
    /// Creates an error that lasts until a user or an operator fixes its cause.
    pub(crate) fn permanent(error: Error) -> Self {
        Self { is_transient: false, error }
    }
}
