//! The error of a storage operation.

use std::pin::Pin;

/// A failed storage operation. The message names the object and the store's response, never a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// A later attempt may succeed.
    #[error("{0}")]
    Transient(String),
    /// The operation fails until the configuration, the permissions or the object change.
    #[error("{0}")]
    Permanent(String),
}

impl StorageError {
    /// Whether a later attempt may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_))
    }
}

/// The future of a storage operation.
pub type StorageFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StorageError>> + Send + 'a>>;
