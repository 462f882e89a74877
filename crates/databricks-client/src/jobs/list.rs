//! `runs/list` (DA §1.5).

use serde::Deserialize;

use super::Run;

/// Which runs are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListRuns {
    /// Only runs that are not over.
    pub active_only: bool,
    /// Only runs that are over.
    pub completed_only: bool,
    /// Whether tasks are listed too.
    pub expand_tasks: bool,
    /// Only runs of this type, such as `SUBMIT_RUN`.
    pub run_type: Option<String>,
    /// Runs on a page; 24 at most is inside every statement about the limit.
    pub limit: Option<u32>,
    /// From the page before.
    pub page_token: Option<String>,
    /// Only runs that started at this time or later, in milliseconds since the epoch.
    pub start_time_from: Option<i64>,
}

impl ListRuns {
    /// The query, as the API wants it.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        for (name, is_set) in [
            ("active_only", self.active_only),
            ("completed_only", self.completed_only),
            ("expand_tasks", self.expand_tasks),
        ] {
            if is_set {
                query.push((name, "true".to_owned()));
            }
        }
        query.extend(self.run_type.clone().map(|kind| ("run_type", kind)));
        query.extend(self.limit.map(|limit| ("limit", limit.to_string())));
        query.extend(self.page_token.clone().map(|token| ("page_token", token)));
        query.extend(self.start_time_from.map(|time| ("start_time_from", time.to_string())));
        query
    }
}

/// One page of runs, the latest first.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct RunsPage {
    /// Its runs; absent in the answer when there are none.
    #[serde(deserialize_with = "super::null_as_default")]
    pub runs: Vec<Run>,
    /// Where the next page starts; empty or absent on the last.
    pub next_page_token: Option<String>,
}

impl RunsPage {
    /// Where the next page starts.
    pub fn next(&self) -> Option<&str> {
        self.next_page_token.as_deref().filter(|token| !token.is_empty())
    }
}
