//! The names of a Secret. They become part of a URL, so anything but a valid name is rejected.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A Secret, by its namespace and name, both valid in Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Names")]
pub(crate) struct SecretName {
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Names {
    namespace: String,
    name: String,
}

/// A text that is not a name of Kubernetes. Does not contain the text, which any task can choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidName {
    #[error("the namespace is not a name of Kubernetes")]
    Namespace,
    #[error("the name of the Secret is not a name of Kubernetes")]
    Name,
}

impl SecretName {
    /// Validates the names.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] for anything but a DNS label as the namespace and a DNS subdomain as the name.
    pub(crate) fn new(namespace: &str, name: &str) -> Result<Self, InvalidName> {
        if namespace.len() > 63 || !is_label(namespace) {
            return Err(InvalidName::Namespace);
        }
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(InvalidName::Name);
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Formats the Secret without an article.
    pub(crate) fn bare(&self) -> String {
        format!("Secret {} in namespace {}", self.name, self.namespace)
    }
}

impl TryFrom<Names> for SecretName {
    type Error = InvalidName;

    fn try_from(names: Names) -> Result<Self, InvalidName> {
        Self::new(&names.namespace, &names.name)
    }
}

/// True for lowercase letters, digits and inner dashes.
fn is_label(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().copied().is_some_and(alphanumeric)
        && bytes.last().copied().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(*byte) || *byte == b'-')
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the Secret {} of namespace {}", self.name, self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_kubernetes_names_are_accepted() {
        for (namespace, name) in [("team-a", "databricks-token"), ("1", "a.b.c"), ("x", "0")] {
            let secret = SecretName::new(namespace, name).unwrap();
            assert_eq!((secret.namespace(), secret.name()), (namespace, name));
        }
        let long = "a".repeat(64);
        for namespace in ["", "a.b", "A", "a/b", "..", "-a", "a-", "a b", "ä", long.as_str()] {
            assert_eq!(SecretName::new(namespace, "x"), Err(InvalidName::Namespace), "{namespace}");
        }
        let long = "a".repeat(254);
        for name in
            ["", "..", "../x", "a/b", "a?b", "a%2fb", "a..b", ".a", "A", "a_b", long.as_str()]
        {
            assert_eq!(SecretName::new("x", name), Err(InvalidName::Name), "{name}");
        }
    }

    #[test]
    fn stored_name_is_validated_when_read() {
        let read = |text: &str| serde_json::from_str::<SecretName>(text);
        let good = r#"{"namespace":"team-a","name":"databricks-token"}"#;
        let secret = read(good).unwrap();
        assert_eq!(secret.to_string(), "the Secret databricks-token of namespace team-a");
        assert_eq!(serde_json::to_string(&secret).unwrap(), good);
        assert!(read(r#"{"namespace":"team-a","name":"../../pods"}"#).is_err());
    }
}
