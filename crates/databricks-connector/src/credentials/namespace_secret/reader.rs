//! How Secrets are read. The implementation is outside this crate, so that nothing here depends on Kubernetes.

use std::{collections::BTreeSet, fmt, pin::Pin, sync::Arc};

use secrecy::SecretString;

/// The keys of a Secret that are used. Absent and blank keys count as none.
#[derive(Debug, Clone, Default)]
pub struct SecretContent {
    /// The key `token`.
    pub token: Option<SecretString>,
    /// The key `client_id`.
    pub client_id: Option<SecretString>,
    /// The key `client_secret`.
    pub client_secret: Option<SecretString>,
}

/// Why a Secret could not be read: a clause that contains neither the Secret's name nor its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretError {
    /// A later read can succeed.
    Transient(String),
    /// Later reads fail too until a user or an operator fixes the cause, such as a missing Role.
    Permanent(String),
}

/// The future of a read. `None` means that the Secret does not exist.
pub type SecretFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Option<SecretContent>, SecretError>> + Send + 'a>>;

/// Reads Secrets.
pub trait SecretReader: fmt::Debug + Send + Sync {
    /// Reads a Secret. Both names are valid names of Kubernetes.
    fn read<'a>(&'a self, namespace: &'a str, name: &'a str) -> SecretFuture<'a>;
}

/// The namespaces whose Secrets may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretNamespaces {
    /// The listed ones.
    Listed(BTreeSet<String>),
    /// All of them.
    Every,
}

impl fmt::Display for SecretNamespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(names) => {
                f.write_str(&names.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
            }
            Self::Every => f.write_str("every namespace"),
        }
    }
}

impl SecretNamespaces {
    pub(super) fn contain(&self, namespace: &str) -> bool {
        match self {
            Self::Listed(names) => names.contains(namespace),
            Self::Every => true,
        }
    }
}

/// Access to the Secrets of some namespaces.
#[derive(Debug, Clone)]
pub struct SecretAccess {
    /// Reads them.
    pub reader: Arc<dyn SecretReader>,
    /// The namespaces whose Secrets may be used.
    pub namespaces: SecretNamespaces,
}
