//! Proves each of the connector's own credentials at its workspace: who it is, and whether it may submit.

use std::time::Duration;

use databricks_client::{Client, Credentials, ErrorKind, Host, jobs::SubmitRun};
use serde_json::json;

use crate::{context::Context, error};

/// How long one workspace may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of the proof of one credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceCheck {
    /// What the operator calls it.
    pub name: String,
    /// The workspace.
    pub host: String,
    /// The kind of credential, as `DATABRICKS_AUTH_TYPE` names it.
    pub kind: &'static str,
    /// Who the workspace takes it for.
    pub who: Identity,
    /// Whether it may submit runs, or why that cannot be told.
    pub may_submit: Result<bool, String>,
    /// Whether tasks do without it, as they do without a Secret that is not there.
    pub is_dispensable: bool,
}

/// Whom a workspace takes a credential for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A user, or a service principal.
    Known(String),
    /// The workspace answered that it is nobody, in these words.
    Refused(String),
    /// Nobody knows, because there is no answer for this reason: the workspace was not reached, or there is nothing to
    /// show it.
    Unknown(String),
}

impl WorkspaceCheck {
    /// Whether tasks can run with it.
    pub fn is_good(&self) -> bool {
        self.is_dispensable
            || (matches!(self.who, Identity::Known(_)) && self.may_submit == Ok(true))
    }
}

/// Proves every credential, one after another. Secrets of namespaces are proven at the default workspace.
pub(crate) async fn all(context: &Context) -> Vec<WorkspaceCheck> {
    let settings = &context.settings;
    let mut checks = Vec::new();
    for own in settings.own.iter() {
        checks.push(one(context, own.name.clone(), &own.host, own.credentials.clone()).await);
    }
    if let (Some(secrets), Some(host)) = (&settings.namespace_secrets, &settings.default_host) {
        for secret in secrets.by_default() {
            let name = format!("{}/{}", secret.namespace(), secret.name());
            checks.push(match secrets.of(&secret, None).await {
                Ok(Some(credentials)) => one(context, name, host, credentials).await,
                Ok(None) => {
                    let why = "there is no such Secret, so tasks take the next credential";
                    WorkspaceCheck { is_dispensable: true, ..unproven(name, host, why.to_owned()) }
                }
                Err(trouble) => unproven(name, host, trouble.error.to_string()),
            });
        }
    }
    checks
}

fn unproven(name: String, host: &Host, why: String) -> WorkspaceCheck {
    WorkspaceCheck {
        name,
        host: host.to_string(),
        kind: "-",
        who: Identity::Unknown(why),
        may_submit: Err("not asked".to_owned()),
        is_dispensable: false,
    }
}

async fn one(
    context: &Context,
    name: String,
    host: &Host,
    credentials: Credentials,
) -> WorkspaceCheck {
    let deadline = std::time::Instant::now() + PATIENCE;
    let kind = credentials.auth_type();
    let client = context.client(host, credentials, Some(deadline));
    let who = match client.me().await {
        Ok(me) => Identity::Known(me.user_name),
        Err(error) => {
            let told = error::told(&error);
            if matches!(error.kind(), ErrorKind::Unauthenticated | ErrorKind::Forbidden) {
                Identity::Refused(told)
            } else {
                Identity::Unknown(told)
            }
        }
    };
    let may_submit = match &who {
        Identity::Known(_) => may_submit(&client).await,
        Identity::Refused(_) | Identity::Unknown(_) => Err("not asked".to_owned()),
    };
    let host = host.to_string();
    WorkspaceCheck { name, host, kind, who, may_submit, is_dispensable: false }
}

/// Submits a task that says nothing to do: whoever may submit is told that it is invalid, and nothing starts.
async fn may_submit(client: &Client) -> Result<bool, String> {
    let body = json!({"run_name": "flyte connector check", "tasks": [{"task_key": "check"}]});
    let serde_json::Value::Object(body) = body else { return Ok(false) };
    match client.submit_run(&SubmitRun::new(body)).await {
        Ok(run_id) => {
            // Nobody expects it, and it must not stay.
            let stopped = client.cancel_run(run_id).await.is_ok();
            Err(format!("an empty run was accepted as {run_id}, and cancelled: {stopped}"))
        }
        Err(error) => match error.kind() {
            ErrorKind::Invalid => Ok(true),
            ErrorKind::Forbidden | ErrorKind::Unauthenticated => Ok(false),
            _ => Err(error::told(&error)),
        },
    }
}
