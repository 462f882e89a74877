//! Access to the Kubernetes Secrets of task namespaces: parses the list of namespaces.
//!
//! The feature `kubernetes` adds the reader. Choosing and caching a Secret belongs to the connector.

#[cfg(feature = "kubernetes")]
mod kubernetes;

use std::sync::Arc;

use connector_service::ConfigError;
use databricks_connector::{SecretAccess, SecretNamespaces, SecretReader};

use crate::environment;

/// Returns the access to the listed namespaces; `*` stands for all. `None` for an empty list.
///
/// # Errors
///
/// [`ConfigError`] if a name is not a namespace, or no API server is configured.
pub(crate) fn access(listed: &[String]) -> Result<Option<SecretAccess>, ConfigError> {
    let Some(namespaces) = namespaces(listed)? else { return Ok(None) };
    Ok(Some(SecretAccess { reader: reader()?, namespaces }))
}

fn namespaces(listed: &[String]) -> Result<Option<SecretNamespaces>, ConfigError> {
    if listed.iter().any(|name| name == "*") {
        return Ok(Some(SecretNamespaces::Every));
    }
    let is_name = |name: &str| {
        name.len() <= 63
            && !name.starts_with('-')
            && !name.ends_with('-')
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    match listed.iter().find(|name| !is_name(name)) {
        Some(other) => {
            Err(invalid(format!("`{other}` is not a namespace name; use `*` for all namespaces")))
        }
        None if listed.is_empty() => Ok(None),
        None => Ok(Some(SecretNamespaces::Listed(listed.iter().cloned().collect()))),
    }
}

#[cfg(feature = "kubernetes")]
fn reader() -> Result<Arc<dyn SecretReader>, ConfigError> {
    Ok(Arc::new(kubernetes::KubernetesSecrets::from_environment().map_err(invalid)?))
}

#[cfg(not(feature = "kubernetes"))]
fn reader() -> Result<Arc<dyn SecretReader>, ConfigError> {
    Err(invalid(
        "this binary was built without Kubernetes support; build it with `--features kubernetes`"
            .to_owned(),
    ))
}

fn invalid(message: String) -> ConfigError {
    ConfigError::new(environment::SECRET_NAMESPACES.name, message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn parse(listed: &[&str]) -> Result<Option<SecretNamespaces>, String> {
        let listed: Vec<String> = listed.iter().map(|&name| name.to_owned()).collect();
        namespaces(&listed).map_err(|error| error.to_string())
    }

    #[test]
    fn empty_list_grants_nothing_and_star_grants_everything() {
        assert_eq!(parse(&[]), Ok(None));
        assert_eq!(parse(&["*"]), Ok(Some(SecretNamespaces::Every)));
        let listed = BTreeSet::from(["a".to_owned(), "b-1".to_owned()]);
        assert_eq!(parse(&["b-1", "a"]), Ok(Some(SecretNamespaces::Listed(listed))));
    }

    #[test]
    fn invalid_namespace_is_reported() {
        for name in ["A", "a/b", "team-*", "-a", "a.b"] {
            let error = parse(&["ok", name]).unwrap_err();
            assert!(
                error.starts_with(&format!("FLYTE_DATABRICKS_SECRET_NAMESPACES: `{name}`")),
                "{error}"
            );
        }
    }

    #[cfg(not(feature = "kubernetes"))]
    #[test]
    fn binary_without_kubernetes_rejects_namespaces() {
        let error = access(&["a".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("--features kubernetes"), "{error}");
    }
}
