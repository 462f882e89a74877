//! Successes whose files could not be looked at: counted each, told once for each bucket.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use prometheus_client::metrics::counter::Counter;

/// How many buckets are remembered. Whoever has more is told of some twice.
const MAX_BUCKETS: usize = 1_000;

/// Successes whose files could not be looked at, since the start of the process.
#[derive(Debug, Default)]
pub(crate) struct UnverifiedSuccesses {
    pub(crate) count: Counter,
    buckets: Mutex<HashSet<String>>,
}

impl UnverifiedSuccesses {
    /// Counts one more under this prefix. Gives its bucket if nothing was said of that so far.
    pub(crate) fn one_more(&self, output_prefix: &str) -> Option<String> {
        self.count.inc();
        let bucket = bucket_of(output_prefix);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS {
            buckets.clear();
        }
        buckets.insert(bucket.to_owned()).then(|| bucket.to_owned())
    }
}

/// The scheme and the first part of an address: `s3://bucket` of `s3://bucket/a/b`.
fn bucket_of(url: &str) -> &str {
    let start = url.find("://").map_or(0, |place| place + 3);
    let end = url.get(start..).and_then(|rest| rest.find('/')).map_or(url.len(), |end| start + end);
    url.get(..end).unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_told_once_and_every_success_counted() {
        let unchecked = UnverifiedSuccesses::default();
        let told = ["s3://a/x/1", "s3://a/x/2", "s3://b", "gs://a/y", "file:///tmp/x", "file:///y"]
            .map(|prefix| unchecked.one_more(prefix));
        let told: Vec<Option<&str>> = told.iter().map(Option::as_deref).collect();
        let expected =
            [Some("s3://a"), None, Some("s3://b"), Some("gs://a"), Some("file://"), None];
        assert_eq!(told, expected);
        assert_eq!(unchecked.count.get(), 6);
    }
}
