//! The credentials in the connections of tasks.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, PoisonError},
};

use connector_core::Connection;
use databricks_client::{Credentials, clean_secret};
use secrecy::{ExposeSecret, SecretString};

/// The secret that holds a task's token (flyte-contract.md#task-side).
const TOKEN: &str = "databricks_token";

/// The secrets that hold a task's service principal.
const CLIENT_ID: &str = "databricks_client_id";
const CLIENT_SECRET: &str = "databricks_client_secret";

/// The maximum number of service principals whose tokens are cached.
const MAX_PRINCIPALS: usize = 1_000;

/// The longest id and secret that are cached, in bytes together. Real ones have about a hundred.
const MAX_PRINCIPAL: usize = 4 * 1024;

/// Reads credentials from connections. Caches service principals, so that the calls of a task share tokens.
#[derive(Default)]
pub(crate) struct TaskCredentials {
    key: RandomState,
    principals: Mutex<HashMap<u64, Credentials>>,
}

impl TaskCredentials {
    /// Returns the task's token, else its service principal. A JSON null arrives as an empty secret, which counts as none
    /// (flyte-contract.md#createtask).
    pub(crate) fn of(&self, connection: &Connection) -> Option<Credentials> {
        let token = connection.secret(TOKEN);
        token
            .and_then(|token| bearer("the task's secret `databricks_token`", token))
            .or_else(|| self.principal(connection))
    }

    fn principal(&self, connection: &Connection) -> Option<Credentials> {
        let part = |name| clean_secret(connection.secret(name)?.expose_secret());
        let (id, secret) = (part(CLIENT_ID)?, part(CLIENT_SECRET)?);
        let id = id.expose_secret();
        let credentials = || {
            Credentials::oauth_m2m(
                "the task's secrets `databricks_client_id` and `databricks_client_secret`",
                id,
                secret.clone(),
            )
        };
        if id.len() + secret.expose_secret().len() > MAX_PRINCIPAL {
            return Some(credentials());
        }
        let identity = self.key.hash_one((id, secret.expose_secret()));
        let mut principals = self.principals.lock().unwrap_or_else(PoisonError::into_inner);
        if principals.len() >= MAX_PRINCIPALS && !principals.contains_key(&identity) {
            principals.clear();
        }
        Some(principals.entry(identity).or_insert_with(credentials).clone())
    }
}

impl fmt::Debug for TaskCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskCredentials").finish_non_exhaustive()
    }
}

/// Returns a token as a credential, or `None` if it is blank.
pub(crate) fn bearer(name: &str, token: &SecretString) -> Option<Credentials> {
    Some(Credentials::personal_access_token(name, clean_secret(token.expose_secret())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(secrets: &[(&str, &str)]) -> Option<String> {
        let connection = secrets.iter().fold(Connection::new(), |connection, (name, value)| {
            connection.with_secret(*name, SecretString::from((*value).to_owned()))
        });
        TaskCredentials::default().of(&connection).map(|found| found.name().to_owned())
    }

    #[test]
    fn token_wins_over_principal_and_blanks_count_as_none() {
        let principal = [("databricks_client_id", "i"), ("databricks_client_secret", "s")];
        assert_eq!(name(&[]), None);
        assert_eq!(name(&[("databricks_token", " \n")]), None);
        assert_eq!(name(&principal[..1]), None);
        assert!(name(&principal).unwrap().contains("databricks_client_id"));
        let both = [&principal[..], &[("databricks_token", "t")]].concat();
        assert!(name(&both).unwrap().contains("databricks_token"));
        let blank = [&principal[..], &[("databricks_token", "")]].concat();
        assert!(name(&blank).unwrap().contains("databricks_client_id"));
    }

    #[test]
    fn principal_is_cached_unless_it_is_too_large() {
        let credentials = TaskCredentials::default();
        let cached = |secret: &str| {
            let connection = Connection::new()
                .with_secret(CLIENT_ID, SecretString::from("i"))
                .with_secret(CLIENT_SECRET, SecretString::from(secret.to_owned()));
            assert_eq!(credentials.of(&connection).unwrap().auth_type(), "oauth-m2m");
            credentials.principals.lock().unwrap().len()
        };
        assert_eq!(cached(&"s".repeat(1_000_000)), 0);
        assert_eq!(cached("s"), 1);
        assert_eq!(cached("s"), 1);
    }
}
