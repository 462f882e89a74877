//! Secrets and configuration of one call.

use std::{collections::BTreeMap, fmt};

use flyteidl2::core;
use secrecy::SecretString;

/// Flyte's `Connection`: secrets by the name that the task requests, and configuration values.
///
/// `Debug` shows names only. Empty secrets are dropped: Flyte sends a JSON null as "" (flyte-contract.md#createtask).
#[derive(Clone, Default)]
pub struct Connection {
    secrets: BTreeMap<String, SecretString>,
    configs: BTreeMap<String, String>,
}

impl Connection {
    /// Creates an empty connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the connection with this secret. Ignores a blank value.
    #[must_use]
    pub fn with_secret(mut self, name: impl Into<String>, value: SecretString) -> Self {
        if !secrecy::ExposeSecret::expose_secret(&value).trim().is_empty() {
            self.secrets.insert(name.into(), value);
        }
        self
    }

    /// Returns the connection with this configuration value.
    #[must_use]
    pub fn with_config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.insert(name.into(), value.into());
        self
    }

    /// Returns the secret with this name.
    pub fn secret(&self, name: &str) -> Option<&SecretString> {
        self.secrets.get(name)
    }

    /// Returns every secret with its name.
    #[cfg(feature = "testing")]
    pub(crate) fn secrets(&self) -> impl Iterator<Item = (&str, &SecretString)> {
        self.secrets.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Returns the configuration value with this name.
    pub fn config(&self, name: &str) -> Option<&str> {
        self.configs.get(name).map(String::as_str)
    }
}

impl From<core::Connection> for Connection {
    fn from(wire: core::Connection) -> Self {
        let mut connection =
            Self { secrets: BTreeMap::new(), configs: wire.configs.into_iter().collect() };
        for (name, value) in wire.secrets {
            connection = connection.with_secret(name, SecretString::from(value));
        }
        connection
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("secrets", &self.secrets.keys().collect::<Vec<_>>())
            .field("configs", &self.configs.keys().collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_blank_secrets_are_dropped() {
        let wire = core::Connection {
            secrets: [
                ("a".to_owned(), String::new()),
                ("b".to_owned(), " \n".to_owned()),
                ("c".to_owned(), "x".to_owned()),
            ]
            .into(),
            ..Default::default()
        };
        let connection = Connection::from(wire);
        assert!(connection.secret("a").is_none());
        assert!(connection.secret("b").is_none());
        assert!(connection.secret("c").is_some());
    }

    #[test]
    fn debug_shows_names_without_values() {
        let wire = core::Connection {
            secrets: [("databricks_token".to_owned(), "dapi-canary".to_owned())].into(),
            configs: [("url".to_owned(), "canary-config".to_owned())].into(),
            ..Default::default()
        };
        let shown = format!("{:?}", Connection::from(wire));
        assert!(shown.contains("databricks_token") && shown.contains("url"), "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}
