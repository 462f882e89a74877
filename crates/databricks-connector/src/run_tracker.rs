//! The run tracker of this connector: runs by host and id, each with the credential last used for it.

use std::time::Duration;

use databricks_client::{Credentials, Host, RunId};

/// How long the credential of a run is kept after the last call about the run.
pub(crate) const CREDENTIAL_TTL: Duration = Duration::from_hours(24);

/// The runs that this process has been called about.
pub(crate) type RunTracker = connector_core::run_tracker::RunTracker<(Host, RunId), Credentials>;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn credential_is_dropped_a_day_after_the_last_call() {
        let tracker = RunTracker::default();
        let key = ("dbc.cloud.databricks.com".parse().unwrap(), "7".parse().unwrap());
        let start = Instant::now();
        let token = Credentials::personal_access_token("mine", "t".to_owned().into());
        tracker.remember(&key, token, start);
        let name = |seconds| {
            let found =
                tracker.remembered(&key, CREDENTIAL_TTL, start + Duration::from_secs(seconds));
            found.map(|found| found.name().to_owned())
        };
        assert_eq!(name(86_400).as_deref(), Some("mine"));
        assert_eq!(name(86_401), None);
        assert_eq!(name(0), None, "it is dropped, not only hidden");
    }
}
