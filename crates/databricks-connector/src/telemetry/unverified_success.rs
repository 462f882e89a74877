//! Successes whose output files could not be checked: each is counted, and logged once per bucket.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use prometheus_client::metrics::counter::Counter;

/// Buckets that are remembered. Beyond that, some are logged again.
const MAX_BUCKETS: usize = 1_000;

/// Unverified successes since the start of the process.
#[derive(Debug, Default)]
pub(super) struct UnverifiedSuccesses {
    pub(super) count: Counter,
    buckets: Mutex<HashSet<String>>,
}

impl UnverifiedSuccesses {
    /// Counts a success with this output prefix. Returns its bucket if that has not been logged.
    pub(super) fn record(&self, output_prefix: &str) -> Option<String> {
        self.count.inc();
        let bucket = bucket_of(output_prefix);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS {
            buckets.clear();
        }
        buckets.insert(bucket.to_owned()).then(|| bucket.to_owned())
    }
}

/// Returns scheme and bucket of a URL: `s3://bucket` for `s3://bucket/a/b`.
fn bucket_of(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(start..).and_then(|rest| rest.find('/')).map_or(url.len(), |end| start + end);
    url.get(..end).unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_success_is_counted_and_each_bucket_returned_once() {
        let successes = UnverifiedSuccesses::default();
        let recorded =
            ["s3://a/x/1", "s3://a/x/2", "s3://b", "gs://a/y", "file:///tmp/x", "file:///y"]
                .map(|prefix| successes.record(prefix));
        let recorded: Vec<Option<&str>> = recorded.iter().map(Option::as_deref).collect();
        let expected =
            [Some("s3://a"), None, Some("s3://b"), Some("gs://a"), Some("file://"), None];
        assert_eq!(recorded, expected);
        assert_eq!(successes.count.get(), 6);
    }
}
