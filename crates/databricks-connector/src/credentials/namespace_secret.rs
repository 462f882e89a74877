//! The Kubernetes Secret of a task's namespace as the credential of its runs. Only namespaces that the operator lists are
//! read; what was read is cached for a short time.

mod reader;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use connector_core::{Error, ErrorKind};
use databricks_client::{Credentials, clean_secret};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;
use tracing::warn;

use super::error::CredentialError;
use crate::run_meta::{InvalidName, SecretName};

pub use reader::{
    SecretAccess, SecretContent, SecretError, SecretFuture, SecretNamespaces, SecretReader,
};

/// The Secret of tasks that name none (flyte-contract.md#connector-v1).
const DEFAULT_NAME: &str = "databricks-token";

/// How long a Secret is cached.
const LIFETIME: Duration = Duration::from_secs(30);

/// How long a failed read is cached, to limit the load on an API server that fails.
const FAILURE_LIFETIME: Duration = Duration::from_secs(2);

/// The time limit of one read.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum number of Secrets in the cache. Bounded because tasks choose the names.
const MAX_SECRETS: usize = 1_000;

/// A cache of credentials from Secrets.
#[derive(Debug)]
pub(crate) struct SecretCredentials {
    access: SecretAccess,
    slots: Mutex<HashMap<SecretName, Arc<Slot>>>,
}

/// The cache entry of one Secret. It is locked during a read, so that concurrent callers share the read.
type Slot = tokio::sync::Mutex<Option<Cached>>;

/// The result of the last read.
#[derive(Debug)]
struct Cached {
    since: Instant,
    result: Result<Option<(SecretContent, Credentials)>, CredentialError>,
}

impl Cached {
    fn is_fresh(&self, now: Instant) -> bool {
        let lifetime = if self.result.is_ok() { LIFETIME } else { FAILURE_LIFETIME };
        now.saturating_duration_since(self.since) < lifetime
    }

    fn credentials(&self) -> Result<Option<Credentials>, CredentialError> {
        self.result.clone().map(|found| found.map(|(_, credentials)| credentials))
    }
}

/// Returns the credential from the Secret of a new task's namespace, or `None` if the operator allows none there or the
/// task names none and the default one does not exist.
///
/// # Errors
///
/// `InvalidTask` for an invalid name; `FailedPrecondition` or `Forbidden` for a Secret that the task names and that is
/// missing, unreadable or empty; `Unavailable` for one that cannot be read now.
pub(super) async fn of_task(
    secrets: Option<&SecretCredentials>,
    named: Option<&str>,
    namespace: &str,
    deadline: Option<std::time::Instant>,
) -> Result<Option<(Credentials, SecretName)>, Error> {
    let Some(secrets) =
        secrets.filter(|secrets| !namespace.is_empty() && secrets.may_use(namespace))
    else {
        if let Some(secret) = named {
            warn!(
                namespace,
                secret,
                "ignoring the Secret that the task names: FLYTE_DATABRICKS_SECRET_NAMESPACES does not list its namespace"
            );
        }
        return Ok(None);
    };
    let secret = SecretName::new(namespace, named.unwrap_or(DEFAULT_NAME)).map_err(invalid_name)?;
    match secrets.of(&secret, deadline).await {
        Ok(Some(credentials)) => Ok(Some((credentials, secret))),
        Ok(None) if named.is_some() => Err(missing(&secret).error),
        Ok(None) => Ok(None),
        Err(failed) => Err(failed.error),
    }
}

/// Returns the credential from the Secret that a run was started with.
///
/// # Errors
///
/// [`CredentialError`] when it does not exist any more, or has no credential.
pub(super) async fn of_run(
    secrets: Option<&SecretCredentials>,
    secret: &SecretName,
    deadline: Option<std::time::Instant>,
) -> Result<Credentials, CredentialError> {
    let Some(secrets) = secrets else { return Err(not_listed(secret)) };
    secrets.of(secret, deadline).await?.ok_or_else(|| missing(secret))
}

impl SecretCredentials {
    pub(crate) fn new(access: SecretAccess) -> Self {
        Self { access, slots: Mutex::default() }
    }

    /// Returns the default Secret of each listed namespace. Empty when all namespaces are allowed.
    pub(crate) fn defaults(&self) -> Vec<SecretName> {
        match &self.access.namespaces {
            SecretNamespaces::Listed(names) => names
                .iter()
                .filter_map(|namespace| SecretName::new(namespace, DEFAULT_NAME).ok())
                .collect(),
            SecretNamespaces::Every => Vec::new(),
        }
    }

    /// True if the operator allows the Secrets of that namespace.
    fn may_use(&self, namespace: &str) -> bool {
        self.access.namespaces.contain(namespace)
    }

    /// Returns the credential from a Secret, or `None` if the Secret does not exist.
    ///
    /// # Errors
    ///
    /// [`CredentialError`] for a namespace that is not listed, or a Secret that is unreadable or has no usable key.
    pub(crate) async fn of(
        &self,
        secret: &SecretName,
        deadline: Option<std::time::Instant>,
    ) -> Result<Option<Credentials>, CredentialError> {
        if !self.may_use(secret.namespace()) {
            return Err(not_listed(secret));
        }
        let timeout = deadline
            .map(|deadline| deadline.saturating_duration_since(std::time::Instant::now()) / 2)
            .map_or(TIMEOUT, |half| half.min(TIMEOUT));
        let slot = self.slot(secret);
        tokio::time::timeout(timeout, self.read(&slot, secret))
            .await
            .unwrap_or_else(|_elapsed| Err(unreadable(secret, timed_out(timeout))))
    }

    async fn read(
        &self,
        slot: &Slot,
        secret: &SecretName,
    ) -> Result<Option<Credentials>, CredentialError> {
        let mut cached = slot.lock().await;
        if let Some(cached) = cached.as_ref().filter(|cached| cached.is_fresh(Instant::now())) {
            return cached.credentials();
        }
        let last = cached.take().and_then(|cached| cached.result.ok().flatten());
        let read = self.access.reader.read(secret.namespace(), secret.name());
        let read = tokio::time::timeout(TIMEOUT, read)
            .await
            .unwrap_or_else(|_elapsed| Err(timed_out(TIMEOUT)));
        let result = match read {
            Ok(None) => Ok(None),
            Ok(Some(content)) => {
                renewed(last, content, secret).map(Some).ok_or_else(|| unusable(secret))
            }
            Err(failed) => Err(unreadable(secret, failed)),
        };
        let now = Cached { since: Instant::now(), result };
        let credentials = now.credentials();
        *cached = Some(now);
        credentials
    }

    fn slot(&self, secret: &SecretName) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(secret) {
            return Arc::clone(slot);
        }
        if slots.len() >= MAX_SECRETS {
            let now = Instant::now();
            // A locked slot is being read.
            slots.retain(|_, slot| {
                slot.try_lock().map_or(true, |cached| {
                    cached
                        .as_ref()
                        .is_some_and(|cached| cached.is_fresh(now) && cached.result.is_ok())
                })
            });
        }
        if slots.len() >= MAX_SECRETS {
            slots.clear();
        }
        Arc::clone(slots.entry(secret.clone()).or_default())
    }
}

/// Returns the credential of that content. Unchanged content keeps its credential, and with it the cached tokens.
fn renewed(
    last: Option<(SecretContent, Credentials)>,
    content: SecretContent,
    secret: &SecretName,
) -> Option<(SecretContent, Credentials)> {
    last.filter(|(before, _)| is_same(before, &content)).or_else(|| {
        let credentials = credentials_in(&content, secret)?;
        Some((content, credentials))
    })
}

fn credentials_in(content: &SecretContent, secret: &SecretName) -> Option<Credentials> {
    let clean = |value: &Option<SecretString>| clean_secret(value.as_ref()?.expose_secret());
    if let Some(token) = clean(&content.token) {
        return Some(Credentials::personal_access_token(secret.to_string(), token));
    }
    let (id, client_secret) = (clean(&content.client_id)?, clean(&content.client_secret)?);
    Some(Credentials::oauth_m2m(secret.to_string(), id.expose_secret(), client_secret))
}

fn is_same(one: &SecretContent, other: &SecretContent) -> bool {
    fn keys(content: &SecretContent) -> [Option<&str>; 3] {
        let SecretContent { token, client_id, client_secret } = content;
        [token, client_id, client_secret]
            .map(|value| value.as_ref().map(SecretString::expose_secret))
    }
    keys(one) == keys(other)
}

fn invalid_name(invalid: InvalidName) -> Error {
    match invalid {
        InvalidName::Name => {
            Error::invalid_task(format!("the task's `databricksTokenSecret`: {invalid}")).with_hint(
                "give the name of a Secret in the task's own namespace, such as `databricks-token`",
            )
        }
        InvalidName::Namespace => {
            Error::invalid_request(format!("the task's execution: {invalid}"))
        }
    }
}

fn timed_out(timeout: Duration) -> SecretError {
    SecretError::Transient(format!("no response within {:.1} s", timeout.as_secs_f64()))
}

fn unreadable(secret: &SecretName, failed: SecretError) -> CredentialError {
    match failed {
        SecretError::Transient(why) => CredentialError {
            is_transient: true,
            error: Error::new(
                ErrorKind::Unavailable,
                format!("{secret} could not be read: {why}"),
            ),
        },
        SecretError::Permanent(why) => CredentialError::permanent(
            Error::failed_precondition(format!("{secret} could not be read: {why}")).with_hint(
                "the connector's service account needs a Role that lets it `get` this Secret; docs/deploy.md has one",
            ),
        ),
    }
}

fn unusable(secret: &SecretName) -> CredentialError {
    CredentialError::permanent(
        Error::failed_precondition(format!("{secret} holds no credential")).with_hint(
            "give it the key `token`, or the keys `client_id` and `client_secret`; blank ones count as none",
        ),
    )
}

/// A Secret that a task or a run names does not exist.
fn missing(secret: &SecretName) -> CredentialError {
    CredentialError::permanent(
        Error::failed_precondition(format!("there is no {}", secret.bare()))
            .with_hint("create it with the key `token`, or with `client_id` and `client_secret`"),
    )
}

/// The operator does not allow the namespace.
fn not_listed(secret: &SecretName) -> CredentialError {
    CredentialError::permanent(
        Error::new(ErrorKind::Forbidden, format!("{secret} may not be used"))
            .with_hint("the operator can add the namespace to FLYTE_DATABRICKS_SECRET_NAMESPACES"),
    )
}

#[cfg(test)]
mod tests;
