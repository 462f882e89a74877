//! Which credential a call uses.

use connector_core::Connection;
use databricks_client::{Credentials, Host};
use secrecy::{ExposeSecret, SecretString};

/// The secret under which a task brings its token (FC §3).
const TASK_SECRET: &str = "databricks_token";

/// The connector's own credential, and the only host that it is sent to.
#[derive(Debug)]
pub(crate) struct OwnCredentials {
    host: Host,
    credentials: Credentials,
}

impl OwnCredentials {
    /// The connector's own token for this host; none when the token is blank.
    pub(crate) fn new(host: Host, token: &SecretString) -> Option<Self> {
        let credentials = personal_access_token(
            "the connector's own token (FLYTE_DATABRICKS_ACCESS_TOKEN)",
            token,
        )?;
        Some(Self { host, credentials })
    }

    /// The credential, for its own host alone.
    pub(crate) fn for_host(&self, host: &Host) -> Option<Credentials> {
        (self.host == *host).then(|| self.credentials.clone())
    }
}

/// The token that the task itself brings.
pub(crate) fn of_task(connection: &Connection) -> Option<Credentials> {
    personal_access_token("the task's secret `databricks_token`", connection.secret(TASK_SECRET)?)
}

/// The token that the v1 plugin stored with its run.
pub(crate) fn of_v1_meta(token: Option<&SecretString>) -> Option<Credentials> {
    personal_access_token("the token that the v1 plugin stored with the run", token?)
}

/// A token is often stored with a line ending, which no header may hold.
fn personal_access_token(name: &str, token: &SecretString) -> Option<Credentials> {
    let token = token.expose_secret().trim();
    (!token.is_empty())
        .then(|| Credentials::personal_access_token(name, SecretString::from(token.to_owned())))
}
