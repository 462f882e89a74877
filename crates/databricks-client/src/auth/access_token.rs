//! An access token and its lifetime. Pure: the caller passes the time.

use std::time::Duration;

use http::HeaderName;
use secrecy::SecretString;
use tokio::time::Instant;

/// How long before its end a token counts as expired. Workspaces reject a token with 30 s left
/// (databricks-api.md#oauth).
const EXPIRY_MARGIN: Duration = Duration::from_secs(40);

/// The longest time before its end at which a token is refreshed.
const MAX_REFRESH_LEAD: Duration = Duration::from_mins(20);

/// A token that was fetched.
#[derive(Debug, Clone)]
pub(super) struct AccessToken {
    pub(super) secret: SecretString,
    /// Further headers that are sent with the token.
    pub(super) extra_headers: Vec<(HeaderName, SecretString)>,
    fetched_at: Instant,
    lifetime: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// The token is used.
    Fresh,
    /// The token is used, and a new one is fetched in the background.
    Stale,
    /// The token is not used.
    Expired,
}

impl AccessToken {
    pub(super) fn new(secret: SecretString, fetched_at: Instant, lifetime: Duration) -> Self {
        Self { secret, extra_headers: Vec::new(), fetched_at, lifetime }
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: SecretString) -> Self {
        self.extra_headers.push((name, value));
        self
    }

    /// Returns the freshness. A token is stale from `min(lifetime / 2, 20 min)` before its end
    /// (databricks-api.md#oauth).
    pub(super) fn freshness(&self, now: Instant) -> Freshness {
        let age = now.saturating_duration_since(self.fetched_at);
        let left = self.lifetime.saturating_sub(age);
        if left <= EXPIRY_MARGIN {
            Freshness::Expired
        } else if left < (self.lifetime / 2).min(MAX_REFRESH_LEAD) {
            Freshness::Stale
        } else {
            Freshness::Fresh
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_stale_in_its_second_half_and_expires_40_seconds_before_its_end() {
        let now = Instant::now();
        let after = |lifetime: u64, age: u64| {
            AccessToken::new("t".to_owned().into(), now, Duration::from_secs(lifetime))
                .freshness(now + Duration::from_secs(age))
        };
        assert_eq!(after(3600, 0), Freshness::Fresh);
        assert_eq!(after(3600, 2400), Freshness::Fresh);
        assert_eq!(after(3600, 2401), Freshness::Stale);
        assert_eq!(after(3600, 3559), Freshness::Stale);
        assert_eq!(after(3600, 3560), Freshness::Expired);
        assert_eq!(after(600, 300), Freshness::Fresh);
        assert_eq!(after(600, 301), Freshness::Stale);
        assert_eq!(after(600, 10_000), Freshness::Expired);
        assert_eq!(after(30, 0), Freshness::Expired);
    }
}
