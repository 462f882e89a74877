//! What a task brings itself.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, PoisonError},
};

use connector_core::Connection;
use databricks_client::Credentials;
use secrecy::{ExposeSecret, SecretString};

/// The secret under which a task brings its token (FC §3).
const TOKEN: &str = "databricks_token";

/// The secrets under which a task brings a service principal.
const CLIENT_ID: &str = "databricks_client_id";
const CLIENT_SECRET: &str = "databricks_client_secret";

/// How many service principals of tasks keep their minted tokens.
const MAX_PRINCIPALS: usize = 1_000;

/// The longest id and secret that are remembered, in bytes together. Real ones have about a hundred.
const MAX_PRINCIPAL: usize = 4 * 1024;

/// The credentials that tasks bring. A service principal keeps its minted token between the calls of a task.
#[derive(Default)]
pub(crate) struct TaskCredentials {
    key: RandomState,
    principals: Mutex<HashMap<u64, Credentials>>,
}

impl TaskCredentials {
    /// The credential of a call: the task's token, else its service principal. A JSON null arrives as an empty secret,
    /// which counts as none (FC §1.3).
    pub(crate) fn of(&self, connection: &Connection) -> Option<Credentials> {
        let token = connection.secret(TOKEN);
        token
            .and_then(|token| bearer("the task's secret `databricks_token`", token))
            .or_else(|| self.principal(connection))
    }

    fn principal(&self, connection: &Connection) -> Option<Credentials> {
        let part =
            |name| Some(connection.secret(name)?.expose_secret().trim()).filter(|s| !s.is_empty());
        let (id, secret) = (part(CLIENT_ID)?, part(CLIENT_SECRET)?);
        let credentials = || {
            Credentials::oauth_m2m(
                "the task's secrets `databricks_client_id` and `databricks_client_secret`",
                id,
                SecretString::from(secret.to_owned()),
            )
        };
        if id.len() + secret.len() > MAX_PRINCIPAL {
            return Some(credentials());
        }
        let identity = self.key.hash_one((id, secret));
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

/// The token that the v1 plugin stored with its run.
pub(crate) fn of_v1_meta(token: Option<&SecretString>) -> Option<Credentials> {
    bearer("the token that the v1 plugin stored with the run", token?)
}

/// A token is often stored with a line ending, which no header may hold.
pub(crate) fn bearer(name: &str, token: &SecretString) -> Option<Credentials> {
    let token = token.expose_secret().trim();
    (!token.is_empty())
        .then(|| Credentials::personal_access_token(name, SecretString::from(token.to_owned())))
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
    fn a_token_comes_before_a_principal_and_blanks_count_as_none() {
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
    fn a_principal_is_remembered_unless_it_is_as_large_as_none_is() {
        let credentials = TaskCredentials::default();
        let remembered = |secret: &str| {
            let connection = Connection::new()
                .with_secret(CLIENT_ID, SecretString::from("i"))
                .with_secret(CLIENT_SECRET, SecretString::from(secret.to_owned()));
            assert_eq!(credentials.of(&connection).unwrap().auth_type(), "oauth-m2m");
            credentials.principals.lock().unwrap().len()
        };
        assert_eq!(remembered(&"s".repeat(1_000_000)), 0);
        assert_eq!(remembered("s"), 1);
        assert_eq!(remembered("s"), 1);
    }
}
