//! What a token source needs to fetch a token for one call.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{ErrorKind, Host, Observer, TokenFetch};

/// The context of one call.
#[derive(Debug, Clone)]
pub(crate) struct FetchContext<'a> {
    /// The workspace that the token is for.
    pub(crate) host: &'a Host,
    /// The HTTP client for the workspace.
    pub(crate) workspace_http: &'a reqwest::Client,
    /// The HTTP client for the token endpoints of the clouds.
    pub(crate) cloud_http: &'a reqwest::Client,
    pub(crate) observer: Option<&'a Arc<dyn Observer>>,
    pub(crate) deadline: Instant,
}

impl FetchContext<'_> {
    /// Reports the result of a fetch to the observer.
    pub(super) fn report(&self, kind: &'static str, failure: Option<ErrorKind>) {
        if let Some(observer) = self.observer {
            observer.on_token_fetch(&TokenFetch { host: self.host, kind, failure });
        }
    }
}
