//! The time of the workspace.

use std::time::{Duration, SystemTime};

/// The time since the epoch, in whole milliseconds, so that every duration is the difference of its two times.
pub(crate) fn now() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
