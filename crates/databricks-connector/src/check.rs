//! Checks each of the connector's own credentials at its workspace: the principal, and whether it may submit runs.

use std::time::{Duration, Instant};

use databricks_client::{Client, Credentials, ErrorKind, Host, jobs::Submission};
use serde_json::{Map, json};

use crate::{context::Context, error};

/// The time limit for one workspace.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The result of checking one credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceCheck {
    /// The operator's name for the credential.
    pub name: String,
    /// The workspace.
    pub host: String,
    /// The kind of credential, as in `DATABRICKS_AUTH_TYPE`.
    pub kind: &'static str,
    /// The principal that the workspace reports for it.
    pub identity: Identity,
    /// Whether it may submit runs, or why this is not known.
    pub can_submit: Result<bool, String>,
    /// True if tasks can run without it, such as a Secret that does not exist.
    pub is_optional: bool,
}

/// The principal of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A user or a service principal.
    Known(String),
    /// The workspace rejected the credential, for this reason.
    Rejected(String),
    /// Not known, for this reason: the workspace was not reached, or there is no credential.
    Unknown(String),
}

impl WorkspaceCheck {
    /// True if tasks can run.
    pub fn is_good(&self) -> bool {
        self.is_optional
            || (matches!(self.identity, Identity::Known(_)) && self.can_submit == Ok(true))
    }
}

/// Checks all credentials, one after another. Secrets of namespaces are checked at the default workspace.
pub(crate) async fn all(context: &Context) -> Vec<WorkspaceCheck> {
    let settings = &context.settings;
    let mut checks = Vec::new();
    for own in settings.credentials.own.iter() {
        checks.push(one(context, own.name.clone(), &own.host, own.credentials.clone()).await);
    }
    if let (Some(secrets), Some(host)) =
        (&settings.credentials.namespace_secrets, &settings.default_host)
    {
        for secret in secrets.defaults() {
            let name = format!("{}/{}", secret.namespace(), secret.name());
            checks.push(match secrets.of(&secret, None).await {
                Ok(Some(credentials)) => one(context, name, host, credentials).await,
                Ok(None) => {
                    let why = "there is no such Secret, so tasks use the next credential";
                    WorkspaceCheck { is_optional: true, ..unchecked(name, host, why.to_owned()) }
                }
                Err(failed) => unchecked(name, host, failed.error.to_string()),
            });
        }
    }
    checks
}

fn unchecked(name: String, host: &Host, why: String) -> WorkspaceCheck {
    WorkspaceCheck {
        name,
        host: host.to_string(),
        kind: "-",
        identity: Identity::Unknown(why),
        can_submit: Err("not asked".to_owned()),
        is_optional: false,
    }
}

async fn one(
    context: &Context,
    name: String,
    host: &Host,
    credentials: Credentials,
) -> WorkspaceCheck {
    let kind = credentials.auth_type();
    let client = context.client(host, credentials, Some(Instant::now() + TIMEOUT));
    let identity = match client.me().await {
        Ok(me) => Identity::Known(me.user_name),
        Err(error) => {
            let is_rejected =
                matches!(error.kind(), ErrorKind::Unauthenticated | ErrorKind::Forbidden);
            let text = error::one_line(&error);
            if is_rejected { Identity::Rejected(text) } else { Identity::Unknown(text) }
        }
    };
    let can_submit = match &identity {
        Identity::Known(_) => can_submit(&client).await,
        Identity::Rejected(_) | Identity::Unknown(_) => Err("not asked".to_owned()),
    };
    let host = host.to_string();
    WorkspaceCheck { name, host, kind, identity, can_submit, is_optional: false }
}

/// Submits an empty task to test permissions: a permitted caller gets `Invalid`, and nothing starts.
async fn can_submit(client: &Client) -> Result<bool, String> {
    let body = Map::from_iter([
        ("run_name".to_owned(), json!("flyte connector check")),
        ("tasks".to_owned(), json!([{"task_key": "check"}])),
    ]);
    match client.submit_run(&Submission::new(body)).await {
        Ok(run_id) => {
            let is_cancelled = client.cancel_run(run_id).await.is_ok();
            Err(format!("an empty run was accepted as {run_id}; cancelled: {is_cancelled}"))
        }
        Err(error) => match error.kind() {
            ErrorKind::Invalid => Ok(true),
            ErrorKind::Forbidden | ErrorKind::Unauthenticated => Ok(false),
            _ => Err(error::one_line(&error)),
        },
    }
}
