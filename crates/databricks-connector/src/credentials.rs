//! Chooses the credential of a call; no other module does. In order of precedence:
//!
//! 1. the credential in the task's connection: a token, else a service principal ([`task`]);
//! 2. the Kubernetes Secret of the task's namespace ([`namespace_secret`]);
//! 3. the token that the v1 plugin stored with the run;
//! 4. the connector's own credential for the workspace ([`own`]);
//! 5. the credential last seen for the run, for calls that carry no connection.
//!
//! How a credential becomes a header belongs in `databricks-client`.

pub(crate) mod error;
pub(crate) mod namespace_secret;
pub(crate) mod own;
pub(crate) mod task;

use connector_core::{CallContext, CreateContext, Error, ErrorKind, attempt::AttemptId};
use databricks_client::{Credentials, Host};

use self::{
    error::CredentialError,
    namespace_secret::SecretCredentials,
    own::OwnCredentials,
    task::{TaskCredentials, bearer},
};
use crate::{
    run_meta::{CredentialRef, RunMeta},
    task::DatabricksTask,
};

/// Chooses the credential of each call.
#[derive(Debug)]
pub(crate) struct CredentialResolver {
    pub(crate) task: TaskCredentials,
    pub(crate) namespace_secrets: Option<SecretCredentials>,
    pub(crate) own: OwnCredentials,
}

impl CredentialResolver {
    /// Returns the credential of a new task, and its name if later calls need it to find the same one.
    ///
    /// # Errors
    ///
    /// `InvalidTask` or `FailedPrecondition` for a Secret that the task names; `Unavailable` for one that cannot be read
    /// now; `Forbidden` or `FailedPrecondition` when there is no credential.
    pub(crate) async fn for_task(
        &self,
        host: &Host,
        cx: &CreateContext,
        task: &DatabricksTask,
        attempt: &AttemptId,
    ) -> Result<(Credentials, Option<CredentialRef>), Error> {
        if let Some(credentials) = self.task.of(&cx.connection) {
            return Ok((credentials, None));
        }
        let (secrets, named) = (self.namespace_secrets.as_ref(), task.token_secret.as_deref());
        let secret =
            namespace_secret::of_task(secrets, named, &cx.execution.namespace, cx.deadline).await?;
        if let Some((credentials, secret)) = secret {
            return Ok((credentials, Some(CredentialRef::Secret(secret))));
        }
        let (project, domain) = (attempt.project(), attempt.domain());
        match self.own.for_task(host, project, domain) {
            Some(own) => {
                let name = self.own.is_one_of_several(own).then(|| own.name.clone());
                Ok((own.credentials.clone(), name.map(CredentialRef::Workspace)))
            }
            None if self.own.has_host(host) => Err(Error::new(
                ErrorKind::Forbidden,
                format!("the connector has no credential at {host} for project `{project}` and domain `{domain}`"),
            )
            .with_hint("give the task its own secret, or ask the operator to allow the project")),
            None => Err(no_credentials(host)),
        }
    }

    /// Returns the credential of a call about a run. `last_seen` is the last resort.
    ///
    /// # Errors
    ///
    /// [`CredentialError`] when the Secret that the run was started with gives no credential, or when there is none at
    /// all.
    pub(crate) async fn for_run(
        &self,
        host: &Host,
        cx: &CallContext,
        meta: &RunMeta,
        last_seen: Option<Credentials>,
    ) -> Result<Credentials, CredentialError> {
        if let Some(credentials) = self.task.of(&cx.connection) {
            return Ok(credentials);
        }
        if let Some(CredentialRef::Secret(secret)) = &meta.credential {
            let secrets = self.namespace_secrets.as_ref();
            return namespace_secret::of_run(secrets, secret, cx.deadline).await;
        }
        let stored = meta.auth_token.as_ref();
        stored
            .and_then(|token| bearer("the token that the v1 plugin stored with the run", token))
            .or_else(|| self.own_for_run(host, meta))
            .or(last_seen)
            .ok_or_else(|| CredentialError::permanent(no_credentials(host)))
    }

    /// Returns the connector's own credential for a run.
    pub(crate) fn own_for_run(&self, host: &Host, meta: &RunMeta) -> Option<Credentials> {
        let name = match &meta.credential {
            Some(CredentialRef::Workspace(name)) => Some(name.as_str()),
            Some(CredentialRef::Secret(_)) | None => None,
        };
        self.own.for_run(host, name).map(|own| own.credentials.clone())
    }
}

fn no_credentials(host: &Host) -> Error {
    Error::failed_precondition(format!("there is no credential for {host}")).with_hint(
        "give the task a token as its secret `databricks_token`, \
         or set FLYTE_DATABRICKS_ACCESS_TOKEN on the connector whose FLYTE_DATABRICKS_INSTANCE is this workspace",
    )
}
