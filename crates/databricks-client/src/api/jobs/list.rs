//! `runs/list` (databricks-api.md#runs-list).

use super::Run;
use crate::api::{
    json::{deserializable, read_objects, readable},
    pages::{self, Page},
};

/// The filter of a list of runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListRuns {
    /// Only active runs.
    pub active_only: bool,
    /// Only completed runs.
    pub completed_only: bool,
    /// Whether to include the tasks of each run.
    pub expand_tasks: bool,
    /// Only runs of this type, such as `SUBMIT_RUN`.
    pub run_type: Option<String>,
    /// Runs per page. Every documented limit allows 24.
    pub limit: Option<u32>,
    /// [`RunsPage::next_page_token`] of the previous page.
    pub page_token: Option<String>,
    /// Only runs that started at or after this time, in milliseconds since the epoch.
    pub start_time_from: Option<i64>,
}

impl ListRuns {
    /// Returns the query parameters.
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
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunsPage {
    /// The runs.
    pub runs: Vec<Run>,
    /// The token of the next page. Empty or absent on the last page.
    pub next_page_token: Option<String>,
}

impl RunsPage {
    /// Returns the token of the next page, if there is one.
    pub fn next(&self) -> Option<&str> {
        pages::token(self.next_page_token.as_deref())
    }
}

impl Page for RunsPage {
    fn next(&self) -> Option<&str> {
        self.next()
    }
}

read_objects! { RunsPage { runs, next_page_token } }
readable!(RunsPage);
deserializable!(RunsPage);
