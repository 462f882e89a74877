//! The Kubernetes Secret of a task's namespace, as the credential of its runs: only in namespaces that the operator
//! lists, read once at a time, and forgotten soon.
//!
//! Who reads it is behind [`NamespaceSecrets`], so that nothing here knows of Kubernetes.

mod name;
mod step;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use connector_core::{Error, ErrorKind};
use databricks_client::Credentials;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;

pub(crate) use name::SecretName;
pub(crate) use step::{of_run, of_task};

use crate::get::run_tracker::failure_timers::PollFailure;

/// The Secret of tasks that name none (FC §4.2).
const DEFAULT_NAME: &str = "databricks-token";

/// How long what was read is used.
const LIFE: Duration = Duration::from_secs(30);

/// How long a failure to read is told without another try, so that an API server in trouble is not overrun.
const LIFE_OF_TROUBLE: Duration = Duration::from_secs(2);

/// How long one read may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many Secrets are remembered. A task chooses the name, so there must be an end.
const MAX_SECRETS: usize = 1_000;

/// What a Secret holds for us. A key that is absent, or blank, is none.
#[derive(Debug, Clone, Default)]
pub struct SecretContent {
    /// The key `token`.
    pub token: Option<SecretString>,
    /// The key `client_id`.
    pub client_id: Option<SecretString>,
    /// The key `client_secret`.
    pub client_secret: Option<SecretString>,
}

/// Why a Secret could not be read: a clause that names neither the Secret nor what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretTrouble {
    /// It passes by itself.
    Passing(String),
    /// Somebody has to mend something, such as a Role.
    Lasting(String),
}

/// A Secret, as it comes. None: there is no such Secret.
pub type SecretReading<'a> =
    Pin<Box<dyn Future<Output = Result<Option<SecretContent>, SecretTrouble>> + Send + 'a>>;

/// Whoever reads Secrets.
pub trait NamespaceSecrets: fmt::Debug + Send + Sync {
    /// The Secret of that name in that namespace. Both are valid names of Kubernetes.
    fn read<'a>(&'a self, namespace: &'a str, name: &'a str) -> SecretReading<'a>;
}

/// The namespaces whose Secrets may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretNamespaces {
    /// These.
    Listed(BTreeSet<String>),
    /// All of them.
    Every,
}

impl fmt::Display for SecretNamespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(names) => {
                f.write_str(&names.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
            }
            Self::Every => f.write_str("every namespace"),
        }
    }
}

impl SecretNamespaces {
    fn contain(&self, namespace: &str) -> bool {
        match self {
            Self::Listed(names) => names.contains(namespace),
            Self::Every => true,
        }
    }
}

/// The Secrets that may be used, and who reads them.
#[derive(Debug, Clone)]
pub struct SecretAccess {
    /// Who reads them.
    pub reader: Arc<dyn NamespaceSecrets>,
    /// Of which namespaces.
    pub namespaces: SecretNamespaces,
}

/// A Secret that gives no credential.
#[derive(Debug, Clone)]
pub(crate) struct NoSecret {
    pub(crate) trouble: PollFailure,
    pub(crate) error: Error,
}

/// The Secrets as credentials, with what was read last.
#[derive(Debug)]
pub(crate) struct SecretCredentials {
    access: SecretAccess,
    slots: Mutex<HashMap<SecretName, Arc<Slot>>>,
}

/// One Secret. The lock is held while it is read, so that it is read once for everybody who asks.
type Slot = tokio::sync::Mutex<Option<Held>>;

/// What came of the last read.
#[derive(Debug)]
struct Held {
    since: Instant,
    found: Result<Option<(SecretContent, Credentials)>, NoSecret>,
}

impl Held {
    fn is_fresh(&self, now: Instant) -> bool {
        let life = if self.found.is_ok() { LIFE } else { LIFE_OF_TROUBLE };
        now.saturating_duration_since(self.since) < life
    }

    fn credentials(&self) -> Result<Option<Credentials>, NoSecret> {
        self.found.clone().map(|found| found.map(|(_, credentials)| credentials))
    }
}

impl SecretCredentials {
    pub(crate) fn new(access: SecretAccess) -> Self {
        Self { access, slots: Mutex::default() }
    }

    /// The Secret that tasks use which name none, of each namespace that is listed; none where every namespace is.
    pub(crate) fn by_default(&self) -> Vec<SecretName> {
        match &self.access.namespaces {
            SecretNamespaces::Listed(names) => names
                .iter()
                .filter_map(|namespace| SecretName::new(namespace, DEFAULT_NAME).ok())
                .collect(),
            SecretNamespaces::Every => Vec::new(),
        }
    }

    /// Whether the operator lets Secrets of that namespace be used.
    pub(crate) fn may_use(&self, namespace: &str) -> bool {
        self.access.namespaces.contain(namespace)
    }

    /// The credential in that Secret; none when there is no such Secret.
    ///
    /// # Errors
    ///
    /// [`NoSecret`] for a namespace that is not listed, a Secret that cannot be read, or one without a usable key.
    pub(crate) async fn of(
        &self,
        secret: &SecretName,
        deadline: Option<std::time::Instant>,
    ) -> Result<Option<Credentials>, NoSecret> {
        if !self.may_use(secret.namespace()) {
            return Err(not_listed(secret));
        }
        let time = deadline
            .map(|deadline| deadline.saturating_duration_since(std::time::Instant::now()) / 2)
            .map_or(PATIENCE, |half| half.min(PATIENCE));
        let slot = self.slot(secret);
        tokio::time::timeout(time, self.read(&slot, secret)).await.unwrap_or_else(|_elapsed| {
            let why = format!("no answer came within {:.1} s", time.as_secs_f64());
            Err(unreadable(secret, SecretTrouble::Passing(why)))
        })
    }

    async fn read(
        &self,
        slot: &Slot,
        secret: &SecretName,
    ) -> Result<Option<Credentials>, NoSecret> {
        let mut held = slot.lock().await;
        if let Some(held) = held.as_ref().filter(|held| held.is_fresh(Instant::now())) {
            return held.credentials();
        }
        let last = held.take().and_then(|held| held.found.ok().flatten());
        let read = tokio::time::timeout(
            PATIENCE,
            self.access.reader.read(secret.namespace(), secret.name()),
        );
        let read = read.await.unwrap_or_else(|_elapsed| {
            let why = format!("no answer came within {} s", PATIENCE.as_secs());
            Err(SecretTrouble::Passing(why))
        });
        let found = match read {
            Ok(None) => Ok(None),
            Ok(Some(content)) => {
                renewed(last, content, secret).map(Some).ok_or_else(|| unusable(secret))
            }
            Err(trouble) => Err(unreadable(secret, trouble)),
        };
        let now = Held { since: Instant::now(), found };
        let credentials = now.credentials();
        *held = Some(now);
        credentials
    }

    fn slot(&self, secret: &SecretName) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(secret) {
            return Arc::clone(slot);
        }
        if slots.len() >= MAX_SECRETS {
            let now = Instant::now();
            // One that is being read is in use.
            slots.retain(|_, slot| {
                slot.try_lock().map_or(true, |held| {
                    held.as_ref().is_some_and(|held| held.is_fresh(now) && held.found.is_ok())
                })
            });
        }
        if slots.len() >= MAX_SECRETS {
            slots.clear();
        }
        Arc::clone(slots.entry(secret.clone()).or_default())
    }
}

/// The credential of that content. The same content keeps its credential, and with it the tokens that were minted.
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
    let SecretContent { token, client_id, client_secret } = content;
    if let Some(token) = token.as_ref().and_then(given) {
        return Some(Credentials::personal_access_token(secret.to_string(), token));
    }
    let (id, client_secret) =
        (client_id.as_ref().and_then(given)?, client_secret.as_ref().and_then(given)?);
    Some(Credentials::oauth_m2m(secret.to_string(), id.expose_secret(), client_secret))
}

/// A value is often stored with a line ending, which no header may hold.
fn given(value: &SecretString) -> Option<SecretString> {
    let text = value.expose_secret().trim();
    (!text.is_empty()).then(|| SecretString::from(text.to_owned()))
}

fn is_same(one: &SecretContent, other: &SecretContent) -> bool {
    fn keys(content: &SecretContent) -> [Option<&str>; 3] {
        let SecretContent { token, client_id, client_secret } = content;
        [token, client_id, client_secret]
            .map(|value| value.as_ref().map(SecretString::expose_secret))
    }
    keys(one) == keys(other)
}

fn unreadable(secret: &SecretName, trouble: SecretTrouble) -> NoSecret {
    match trouble {
        SecretTrouble::Passing(why) => NoSecret {
            trouble: PollFailure::Transient,
            error: Error::new(
                ErrorKind::Unavailable,
                format!("{secret} could not be read: {why}"),
            ),
        },
        SecretTrouble::Lasting(why) => NoSecret {
            trouble: PollFailure::Rejected,
            error: Error::failed_precondition(format!("{secret} could not be read: {why}")).with_hint(
                "the connector's service account needs a Role that lets it `get` this Secret; docs/deploy.md has one",
            ),
        },
    }
}

fn unusable(secret: &SecretName) -> NoSecret {
    NoSecret {
        trouble: PollFailure::Rejected,
        error: Error::failed_precondition(format!("{secret} holds no credential")).with_hint(
            "give it the key `token`, or the keys `client_id` and `client_secret`; blank ones count as none",
        ),
    }
}

/// The Secret that a task or a run names is not there.
fn missing(secret: &SecretName) -> NoSecret {
    NoSecret {
        trouble: PollFailure::Rejected,
        error: Error::failed_precondition(format!("there is no {}", secret.bare()))
            .with_hint("create it with the key `token`, or with `client_id` and `client_secret`"),
    }
}

/// The operator does not let it be used.
fn not_listed(secret: &SecretName) -> NoSecret {
    NoSecret {
        trouble: PollFailure::Rejected,
        error: Error::new(ErrorKind::Forbidden, format!("{secret} may not be used"))
            .with_hint("the operator can add the namespace to FLYTE_DATABRICKS_SECRET_NAMESPACES"),
    }
}

#[cfg(test)]
mod tests;
