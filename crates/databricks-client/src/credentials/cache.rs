//! The tokens of one credential, one for each workspace: minted once at a time, renewed beside the calls.

use std::{
    collections::HashMap,
    error::Error as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use secrecy::SecretString;
use tokio::time::{Instant, error::Elapsed};
use tracing::{debug, warn};

use super::{
    Credentials, Minting,
    flow::{Authorities, Flow},
    token::{Freshness, Token},
};
use crate::{Error, ErrorKind, Host};

/// How long renewing rests after it failed (DA §4.5).
const REST: Duration = Duration::from_mins(1);

/// How long minting rests after a fault that passes, for everybody, so that a broken authority is not overrun.
const BREATH: Duration = Duration::from_secs(1);

/// How long renewing beside the calls may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Workspaces that keep a token.
const MAX_HOSTS: usize = 1_000;

/// The tokens of one credential. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Cache {
    slots: Arc<Mutex<HashMap<Host, Arc<Slot>>>>,
    authorities: Arc<Authorities>,
}

/// The token for one workspace.
#[derive(Debug, Default)]
struct Slot {
    held: Mutex<Held>,
    /// Held while a token is minted, so that it is minted once.
    minting: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Held {
    token: Option<Token>,
    generation: u64,
    /// Before then it is not renewed.
    rests_until: Option<Instant>,
    /// The last failure to mint one, if it passes.
    failed: Option<Failed>,
}

/// A failure that is told to whoever asks for a while, in place of asking the authority again.
#[derive(Debug)]
struct Failed {
    at: Instant,
    kind: ErrorKind,
    what: String,
}

impl Failed {
    fn new(error: &Error, at: Instant) -> Self {
        let mut what = error.to_string();
        let mut cause = error.source();
        while let Some(source) = cause {
            let text = source.to_string();
            if !what.contains(&text) {
                what.push_str(": ");
                what.push_str(&text);
            }
            cause = source.source();
        }
        Self { at, kind: error.kind(), what }
    }

    /// The same failure, and how long it is told yet.
    fn again(&self, now: Instant) -> Option<Error> {
        let left = BREATH.checked_sub(now.saturating_duration_since(self.at))?;
        let error = Error::new(self.kind, self.what.clone()).before_sending();
        (!left.is_zero()).then(|| error.with_retry_after(left))
    }
}

impl Slot {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token that can be used now, and whether a new one should be fetched.
    fn usable(&self, now: Instant) -> Option<(Token, u64, bool)> {
        let held = self.held();
        let token = held.token.as_ref()?;
        match token.freshness(now) {
            Freshness::Fresh => Some((token.clone(), held.generation, false)),
            Freshness::Ageing => {
                let rests = held.rests_until.is_some_and(|until| now < until);
                Some((token.clone(), held.generation, !rests))
            }
            Freshness::Expired => None,
        }
    }

    /// Why no token could be minted just now.
    fn failed(&self, now: Instant) -> Option<Error> {
        self.held().failed.as_ref()?.again(now)
    }

    fn keep(&self, token: Token) -> u64 {
        let mut held = self.held();
        held.token = Some(token);
        held.generation += 1;
        held.rests_until = None;
        held.failed = None;
        held.generation
    }
}

impl Cache {
    pub(super) fn with_authorities(authorities: Authorities) -> Self {
        Self { authorities: Arc::new(authorities), ..Self::default() }
    }

    /// A token for that workspace, with its generation.
    pub(super) async fn token(
        &self,
        credentials: &Credentials,
        flow: &Flow,
        minting: Minting<'_>,
    ) -> Result<(Token, u64), Error> {
        let slot = self.slot(minting.host);
        if let Some((token, generation, renew)) = slot.usable(Instant::now()) {
            if renew {
                self.renew_beside(credentials, &slot, &minting);
            }
            return Ok((token, generation));
        }
        let late = |_elapsed| {
            Error::new(ErrorKind::Timeout, format!("{}: no token came in time", credentials.name()))
                .before_sending()
        };
        let _minting =
            tokio::time::timeout_at(minting.deadline, slot.minting.lock()).await.map_err(late)?;
        // Whoever held the lock before may have brought one.
        if let Some((token, generation, _)) = slot.usable(Instant::now()) {
            return Ok((token, generation));
        }
        if let Some(error) = slot.failed(Instant::now()) {
            return Err(error);
        }
        let minted = tokio::time::timeout_at(
            minting.deadline,
            flow.mint(credentials, &self.authorities, &minting),
        );
        let minted = minted.await;
        minting.ended(flow.auth_type(), failure(&minted));
        let token = match minted.map_err(late)? {
            Ok(token) => token,
            Err(error) if error.is_retryable() => {
                slot.held().failed = Some(Failed::new(&error, Instant::now()));
                return Err(error.with_retry_after(BREATH));
            }
            Err(error) => return Err(error),
        };
        let generation = slot.keep(token.clone());
        debug!(host = %minting.host, credentials = credentials.name(), "token minted");
        Ok((token, generation))
    }

    /// Fetches a new token while the old one is used. One at a time; a failure is no fault of any call.
    fn renew_beside(&self, credentials: &Credentials, slot: &Arc<Slot>, minting: &Minting<'_>) {
        // From now on nobody else tries, until this has ended or has rested.
        slot.held().rests_until = Some(Instant::now() + REST);
        let (credentials, slot, authorities) =
            (credentials.clone(), Arc::clone(slot), Arc::clone(&self.authorities));
        let (host, http, cloud) =
            (minting.host.clone(), minting.http.clone(), minting.cloud.clone());
        let observer = minting.observer.cloned();
        tokio::spawn(async move {
            let super::Kind::Minted { flow, .. } = &credentials.0.kind else { return };
            let _minting = slot.minting.lock().await;
            let deadline = Instant::now() + PATIENCE;
            let observer = observer.as_ref();
            let minting = Minting { host: &host, http: &http, cloud: &cloud, observer, deadline };
            let minted = flow.mint(&credentials, &authorities, &minting);
            let minted = tokio::time::timeout_at(deadline, minted).await;
            minting.ended(flow.auth_type(), failure(&minted));
            match minted {
                Ok(Ok(token)) => {
                    slot.keep(token);
                    debug!(%host, credentials = credentials.name(), "token renewed");
                }
                Ok(Err(error)) => {
                    warn!(%host, credentials = credentials.name(), %error, "the token could not be renewed; the old one is used while it lasts");
                }
                Err(_elapsed) => {
                    warn!(%host, credentials = credentials.name(), "renewing the token took too long; the old one is used while it lasts");
                }
            }
        });
    }

    /// Drops that token. True always: a newer one is there, or one can be minted.
    pub(super) fn forget(&self, host: &Host, generation: u64) -> bool {
        let slot = self.slot(host);
        let mut held = slot.held();
        if held.generation == generation {
            held.token = None;
        }
        true
    }

    /// Every token that is held.
    pub(super) fn secrets(&self) -> Vec<SecretString> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots
            .values()
            .filter_map(|slot| slot.held().token.clone())
            .flat_map(|token| {
                let extra = token.extra.into_iter().map(|(_, value)| value);
                extra.chain([token.secret]).collect::<Vec<_>>()
            })
            .collect()
    }

    fn slot(&self, host: &Host) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MAX_HOSTS && !slots.contains_key(host) {
            slots.clear();
        }
        Arc::clone(slots.entry(host.clone()).or_default())
    }
}

/// How it failed, if it did.
fn failure(minted: &Result<Result<Token, Error>, Elapsed>) -> Option<ErrorKind> {
    match minted {
        Ok(minted) => minted.as_ref().err().map(Error::kind),
        Err(_elapsed) => Some(ErrorKind::Timeout),
    }
}
