//! Proves each of the connector's own credentials at its workspace: who it is, and whether it may submit.

use std::time::Duration;

use databricks_client::{Client, ErrorKind, jobs::SubmitRun};
use serde_json::json;

use super::OwnCredential;
use crate::{DatabricksConnector, error};

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
    /// Who the workspace takes it for, or why it does not.
    pub who: Result<String, String>,
    /// Whether it may submit runs, or why that cannot be told.
    pub may_submit: Result<bool, String>,
}

impl WorkspaceCheck {
    /// Whether tasks can run with it.
    pub fn is_good(&self) -> bool {
        self.who.is_ok() && self.may_submit == Ok(true)
    }
}

/// Proves every credential, one after another.
pub(crate) async fn all(connector: &DatabricksConnector) -> Vec<WorkspaceCheck> {
    let mut checks = Vec::new();
    for own in connector.settings.own.iter() {
        checks.push(one(connector, own).await);
    }
    checks
}

async fn one(connector: &DatabricksConnector, own: &OwnCredential) -> WorkspaceCheck {
    let deadline = std::time::Instant::now() + PATIENCE;
    let client = connector.client(&own.host, own.credentials.clone(), Some(deadline));
    let who = match client.me().await {
        Ok(me) => Ok(me.user_name),
        Err(error) => Err(error::with_causes(&error)),
    };
    let may_submit = match &who {
        Ok(_) => may_submit(&client).await,
        Err(_) => Err("not asked".to_owned()),
    };
    WorkspaceCheck {
        name: own.name.clone(),
        host: own.host.to_string(),
        kind: own.credentials.auth_type(),
        who,
        may_submit,
    }
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
            _ => Err(error::with_causes(&error)),
        },
    }
}
