use connector_core::Error;

/// Why there is no credential for a run.
#[derive(Debug, Clone)]
pub(crate) struct CredentialError {
    /// True if a later call can succeed without a change by a person.
    pub(crate) is_transient: bool,
    pub(crate) error: Error,
}

impl CredentialError {
    /// An error that lasts until a person changes something.
    pub(crate) fn permanent(error: Error) -> Self {
        Self { is_transient: false, error }
    }
}
