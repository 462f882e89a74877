//! Where the Secret stands among the credentials: after what the task brings, before what the connector has.

use connector_core::{CallContext, CreateContext, Error};
use databricks_client::Credentials;
use tracing::warn;

use super::{
    DEFAULT_NAME, NoSecret, SecretCredentials, SecretName,
    name::BadName,
    {missing, not_listed},
};
use crate::task::DatabricksTask;

/// The Secret for a new task. None: the operator lets none be used, or there is none of the default name.
///
/// # Errors
///
/// `InvalidTask` for a name that cannot be one; `FailedPrecondition` for a Secret that the task names and that is not
/// there, may not be read or holds no credential; `Unavailable` when it could not be read now.
pub(crate) async fn of_task(
    secrets: Option<&SecretCredentials>,
    task: &DatabricksTask,
    cx: &CreateContext,
) -> Result<Option<(Credentials, SecretName)>, Error> {
    let namespace = cx.execution.namespace.as_str();
    let named = task.token_secret.as_deref();
    let Some(secrets) =
        secrets.filter(|secrets| !namespace.is_empty() && secrets.may_use(namespace))
    else {
        if let Some(name) = named {
            warn!(
                namespace,
                secret = name,
                "the task names a Secret that FLYTE_DATABRICKS_SECRET_NAMESPACES does not admit; it is left alone"
            );
        }
        return Ok(None);
    };
    let secret =
        SecretName::new(namespace, named.unwrap_or(DEFAULT_NAME)).map_err(|bad| match bad {
            BadName::Name => Error::invalid_task(format!(
                "the task's `databricksTokenSecret`: {bad}"
            ))
            .with_hint(
                "give the name of a Secret in the task's own namespace, such as `databricks-token`",
            ),
            BadName::Namespace => Error::invalid_request(format!("the task's execution: {bad}")),
        })?;
    match secrets.of(&secret, cx.deadline).await {
        Ok(Some(credentials)) => Ok(Some((credentials, secret))),
        Ok(None) if named.is_some() => Err(missing(&secret).error),
        Ok(None) => Ok(None),
        Err(no) => Err(no.error),
    }
}

/// The Secret that a run was started with.
///
/// # Errors
///
/// [`NoSecret`] when it is not there any more, or gives no credential.
pub(crate) async fn of_run(
    secrets: Option<&SecretCredentials>,
    secret: &SecretName,
    cx: &CallContext,
) -> Result<Credentials, NoSecret> {
    let Some(secrets) = secrets else { return Err(not_listed(secret)) };
    secrets.of(secret, cx.deadline).await?.ok_or_else(|| missing(secret))
}
