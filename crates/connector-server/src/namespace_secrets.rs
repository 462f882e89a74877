//! Secrets of the tasks' namespaces: which may be used, and, with the feature `kubernetes`, who reads them.

#[cfg(feature = "kubernetes")]
mod kubernetes;

use std::sync::Arc;

use connector_service::ConfigError;
use databricks_connector::{NamespaceSecrets, SecretAccess, SecretNamespaces};

use crate::args;

/// What the operator lists: namespaces, or `*` for all of them.
///
/// # Errors
///
/// [`ConfigError`] for what is no namespace, and where no API server can be found.
pub(crate) fn access(listed: &[String]) -> Result<Option<SecretAccess>, ConfigError> {
    let Some(namespaces) = namespaces(listed)? else { return Ok(None) };
    Ok(Some(SecretAccess { reader: reader()?, namespaces }))
}

/// None for an empty list.
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
        Some(other) => Err(wrong(format!("`{other}` is no namespace; `*` stands for all of them"))),
        None if listed.is_empty() => Ok(None),
        None => Ok(Some(SecretNamespaces::Listed(listed.iter().cloned().collect()))),
    }
}

#[cfg(feature = "kubernetes")]
fn reader() -> Result<Arc<dyn NamespaceSecrets>, ConfigError> {
    Ok(Arc::new(kubernetes::KubernetesSecrets::from_surroundings().map_err(wrong)?))
}

#[cfg(not(feature = "kubernetes"))]
fn reader() -> Result<Arc<dyn NamespaceSecrets>, ConfigError> {
    Err(wrong(
        "this program was built without Kubernetes; build it with `--features kubernetes`"
            .to_owned(),
    ))
}

fn wrong(message: String) -> ConfigError {
    ConfigError::new(args::SECRET_NAMESPACES, message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn read(listed: &[&str]) -> Result<Option<SecretNamespaces>, String> {
        let listed: Vec<String> = listed.iter().map(|&name| name.to_owned()).collect();
        namespaces(&listed).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_listed_lets_nothing_be_read_and_a_star_everything() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["*"]), Ok(Some(SecretNamespaces::Every)));
        let listed = BTreeSet::from(["a".to_owned(), "b-1".to_owned()]);
        assert_eq!(read(&["b-1", "a"]), Ok(Some(SecretNamespaces::Listed(listed))));
    }

    #[test]
    fn what_is_no_namespace_is_named() {
        for name in ["A", "a/b", "team-*", "-a", "a.b"] {
            let error = read(&["ok", name]).unwrap_err();
            assert!(
                error.starts_with(&format!("FLYTE_DATABRICKS_SECRET_NAMESPACES: `{name}`")),
                "{error}"
            );
        }
    }

    #[cfg(not(feature = "kubernetes"))]
    #[test]
    fn a_program_without_kubernetes_says_so() {
        let error = access(&["a".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("--features kubernetes"), "{error}");
    }
}
