//! The tokens of one credential, one for each workspace. Concurrent calls share one fetch; a stale token is refreshed
//! in the background.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use secrecy::SecretString;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{
    access_token::{AccessToken, Freshness},
    fetch_context::FetchContext,
    token_source::TokenSource,
};
use crate::{Error, ErrorKind, Host, error_chain};

/// The pause after a failed refresh (databricks-api.md#oauth).
const REFRESH_PAUSE: Duration = Duration::from_mins(1);

/// How long a transient failure is cached for all callers. Protects a token endpoint that is down.
const FAILURE_LIFETIME: Duration = Duration::from_secs(1);

/// The timeout of a refresh in the background.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest number of workspaces with a cached token.
const MAX_HOSTS: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct TokenCache {
    entries: Mutex<HashMap<Host, Arc<Entry>>>,
}

/// The token for one workspace.
#[derive(Debug, Default)]
struct Entry {
    state: Mutex<State>,
    /// Held during a fetch.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<AccessToken>,
    /// Identifies the token. Increases with each fetch.
    generation: u64,
    /// The token is not refreshed before this time.
    no_refresh_before: Option<Instant>,
    failure: Option<CachedFailure>,
}

/// A transient failure, returned to callers instead of another fetch.
#[derive(Debug)]
struct CachedFailure {
    at: Instant,
    kind: ErrorKind,
    message: String,
}

impl CachedFailure {
    fn new(error: &Error, at: Instant) -> Self {
        Self { at, kind: error.kind(), message: error_chain(error) }
    }

    /// Returns the error until it expires.
    fn error(&self, now: Instant) -> Option<Error> {
        let left = FAILURE_LIFETIME.saturating_sub(now.saturating_duration_since(self.at));
        let error = Error::new(self.kind, self.message.clone()).before_sending();
        (!left.is_zero()).then(|| error.with_retry_after(left))
    }
}

impl Entry {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the cached token with its generation, and whether to refresh it.
    fn get(&self, now: Instant) -> Option<(AccessToken, u64, bool)> {
        let state = self.state();
        let token = state.token.as_ref()?;
        let may_refresh = state.no_refresh_before.is_none_or(|until| now >= until);
        let should_refresh = match token.freshness(now) {
            Freshness::Fresh => false,
            Freshness::Stale => may_refresh,
            Freshness::Expired => return None,
        };
        Some((token.clone(), state.generation, should_refresh))
    }

    fn insert(&self, token: AccessToken) -> u64 {
        let mut state = self.state();
        let generation = state.generation + 1;
        *state = State { token: Some(token), generation, ..State::default() };
        generation
    }
}

impl TokenCache {
    /// Returns a token for the workspace of the context, with its generation. Fetches one if necessary.
    pub(super) async fn get_or_fetch(
        &self,
        name: &str,
        source: &TokenSource,
        context: FetchContext<'_>,
    ) -> Result<(AccessToken, u64), Error> {
        let entry = self.entry(context.host);
        if let Some((token, generation, should_refresh)) = entry.get(Instant::now()) {
            if should_refresh {
                refresh_in_background(name, source, &entry, &context);
            }
            return Ok((token, generation));
        }
        let lock = tokio::time::timeout_at(context.deadline, entry.fetching.lock());
        let _fetching = lock.await.map_err(|_elapsed| timed_out(name))?;
        // A concurrent call may have fetched a token, or failed to.
        let now = Instant::now();
        if let Some((token, generation, _)) = entry.get(now) {
            return Ok((token, generation));
        }
        if let Some(error) = entry.state().failure.as_ref().and_then(|failure| failure.error(now)) {
            return Err(error);
        }
        match fetch(name, source, &context).await {
            Ok(token) => {
                debug!(host = %context.host, credentials = name, "token fetched");
                Ok((token.clone(), entry.insert(token)))
            }
            // A timeout is that of this caller alone.
            Err(error) if error.is_retryable() && !error.is_client_timeout() => {
                entry.state().failure = Some(CachedFailure::new(&error, Instant::now()));
                Err(error.with_retry_after(FAILURE_LIFETIME))
            }
            Err(error) => Err(error),
        }
    }

    /// Removes a rejected token, unless it has been replaced.
    pub(super) fn invalidate(&self, host: &Host, generation: u64) {
        let entry = self.entry(host);
        let mut state = entry.state();
        if state.generation == generation {
            state.token = None;
        }
    }

    /// Returns every cached token and the values of its extra headers.
    pub(super) fn secrets(&self) -> Vec<SecretString> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .values()
            .filter_map(|entry| entry.state().token.clone())
            .flat_map(|token| {
                let extra = token.extra_headers.into_iter().map(|(_, value)| value);
                extra.chain([token.secret]).collect::<Vec<_>>()
            })
            .collect()
    }

    fn entry(&self, host: &Host) -> Arc<Entry> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_HOSTS && !entries.contains_key(host) {
            entries.clear();
        }
        Arc::clone(entries.entry(host.clone()).or_default())
    }
}

/// Fetches a token before the deadline, and reports the result to the observer.
async fn fetch(
    name: &str,
    source: &TokenSource,
    context: &FetchContext<'_>,
) -> Result<AccessToken, Error> {
    let fetched = tokio::time::timeout_at(context.deadline, source.fetch(context)).await;
    let outcome = fetched.unwrap_or_else(|_elapsed| Err(timed_out(name)));
    context.report(source.auth_type(), outcome.as_ref().err().map(Error::kind));
    outcome
}

fn timed_out(name: &str) -> Error {
    let text = format!("{name}: timed out waiting for a token");
    Error::new(ErrorKind::Timeout, text).before_sending()
}

/// Fetches a new token while calls use the old one. One refresh at a time; its failure affects no call.
fn refresh_in_background(
    name: &str,
    source: &TokenSource,
    entry: &Arc<Entry>,
    context: &FetchContext<'_>,
) {
    // Prevents a second refresh before this one is complete, and after it has failed.
    entry.state().no_refresh_before = Some(Instant::now() + REFRESH_PAUSE);
    let (name, source, entry) = (name.to_owned(), source.clone(), Arc::clone(entry));
    let (host, observer) = (context.host.clone(), context.observer.cloned());
    let (workspace_http, cloud_http) = (context.workspace_http.clone(), context.cloud_http.clone());
    tokio::spawn(async move {
        let _fetching = entry.fetching.lock().await;
        let context = FetchContext {
            host: &host,
            workspace_http: &workspace_http,
            cloud_http: &cloud_http,
            observer: observer.as_ref(),
            deadline: Instant::now() + REFRESH_TIMEOUT,
        };
        match fetch(&name, &source, &context).await {
            Ok(token) => {
                entry.insert(token);
                debug!(%host, credentials = name, "token refreshed");
            }
            Err(error) => {
                warn!(%host, credentials = name, %error, "token refresh failed; the old token is used until it expires");
            }
        }
    });
}
