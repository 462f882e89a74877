//! A token and how long it lasts. Pure.

use std::time::Duration;

use http::HeaderName;
use secrecy::SecretString;
use tokio::time::Instant;

/// A token counts as expired this long before it is: workspaces refuse one with 30 s left (DA §4.5).
const SKEW: Duration = Duration::from_secs(40);

/// The longest time before the end at which a token is renewed.
const MAX_LEAD: Duration = Duration::from_mins(20);

/// What was minted.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) secret: SecretString,
    /// Headers that go with it, which are secrets too.
    pub(super) extra: Vec<(HeaderName, SecretString)>,
    minted: Instant,
    lifetime: Duration,
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// It is used as it is.
    Fresh,
    /// It is used, and a new one is fetched beside.
    Ageing,
    /// It is not used.
    Expired,
}

impl Token {
    /// A token that was minted then, for that long.
    pub(super) fn new(secret: SecretString, minted: Instant, lifetime: Duration) -> Self {
        Self { secret, extra: Vec::new(), minted, lifetime }
    }

    pub(super) fn with_extra(mut self, name: HeaderName, value: SecretString) -> Self {
        self.extra.push((name, value));
        self
    }

    /// How it stands now: renewed from `min(lifetime / 2, 20 min)` before its end on (DA §4.5).
    pub(super) fn freshness(&self, now: Instant) -> Freshness {
        let age = now.saturating_duration_since(self.minted);
        let left = self.lifetime.saturating_sub(age);
        if left <= SKEW {
            Freshness::Expired
        } else if left < (self.lifetime / 2).min(MAX_LEAD) {
            Freshness::Ageing
        } else {
            Freshness::Fresh
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_token_is_renewed_before_its_end_and_given_up_40_seconds_before() {
        let now = Instant::now();
        let after = |lifetime: u64, age: u64| {
            Token::new("t".to_owned().into(), now, Duration::from_secs(lifetime))
                .freshness(now + Duration::from_secs(age))
        };
        assert_eq!(after(3600, 0), Freshness::Fresh);
        assert_eq!(after(3600, 2400), Freshness::Fresh);
        assert_eq!(after(3600, 2401), Freshness::Ageing);
        assert_eq!(after(3600, 3559), Freshness::Ageing);
        assert_eq!(after(3600, 3560), Freshness::Expired);
        assert_eq!(after(600, 300), Freshness::Fresh);
        assert_eq!(after(600, 301), Freshness::Ageing);
        assert_eq!(after(600, 10_000), Freshness::Expired);
        assert_eq!(after(30, 0), Freshness::Expired);
    }
}
