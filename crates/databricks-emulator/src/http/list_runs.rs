//! `runs/list`: latest first, in pages (databricks-api.md#runs-list).

#![expect(clippy::indexing_slicing, reason = "assigning to a key of a JSON object does not panic")]

use super::ApiCall;
use super::query::Query;
use crate::api::endpoint::ApiVersion;
use crate::api::error::{ApiError, invalid, reject};
use crate::jobs::responses;
use crate::jobs::run::{CurrentState, Run};
use crate::jobs::script::LifeCycle;
use serde_json::{Value, json};

/// The default page size.
const DEFAULT_LIMIT: i64 = 20;

/// The largest page size observed at the service.
const MAX_LIMIT: i64 = 26;

/// The filter of a request.
struct Filter<'a> {
    active_only: bool,
    completed_only: bool,
    job_id: Option<i64>,
    run_type: Option<&'a str>,
    start_time_from: Option<i64>,
    start_time_to: Option<i64>,
    /// Only runs submitted before this one.
    before: Option<i64>,
}

impl<'a> Filter<'a> {
    fn parse(query: &'a Query) -> Result<Self, ApiError> {
        let before = match query.text("page_token").filter(|token| !token.is_empty()) {
            Some(token) => {
                Some(parse_page_token(token).ok_or_else(|| invalid("Invalid page_token."))?)
            }
            None => None,
        };
        let filter = Self {
            active_only: query.flag("active_only")?,
            completed_only: query.flag("completed_only")?,
            job_id: query.integer("job_id")?,
            run_type: query.text("run_type"),
            start_time_from: query.integer("start_time_from")?,
            start_time_to: query.integer("start_time_to")?,
            before,
        };
        if filter.active_only && filter.completed_only {
            return Err(invalid("active_only and completed_only exclude each other."));
        }
        match filter.run_type {
            None | Some("JOB_RUN" | "WORKFLOW_RUN" | "SUBMIT_RUN") => Ok(filter),
            Some(_) => {
                Err(invalid("Parameter run_type must be JOB_RUN, WORKFLOW_RUN or SUBMIT_RUN."))
            }
        }
    }

    fn matches(&self, run: &Run) -> bool {
        let started = i64::try_from(run.timeline.started().as_millis()).unwrap_or(i64::MAX);
        (!self.active_only || is_active(run))
            && (!self.completed_only || run.timeline.has_ended())
            && self.job_id.is_none_or(|job_id| run.job_id == job_id)
            && self.run_type.is_none_or(|run_type| run_type == "SUBMIT_RUN")
            && self.start_time_from.is_none_or(|from| from <= started)
            && self.start_time_to.is_none_or(|to| started <= to)
            && self.before.is_none_or(|before| run.id < before)
    }
}

/// True if `active_only` includes the run: it covers these four states only.
fn is_active(run: &Run) -> bool {
    let active =
        [LifeCycle::Queued, LifeCycle::Pending, LifeCycle::Running, LifeCycle::Terminating];
    matches!(run.current_state(), CurrentState::Active { step, .. } if active.contains(&step.state))
}

fn parse_page_token(token: &str) -> Option<i64> {
    token.strip_prefix("before-")?.parse().ok()
}

fn limit(query: &Query) -> Result<usize, ApiError> {
    let limit = query.integer("limit")?.unwrap_or(DEFAULT_LIMIT);
    let size = if limit == 0 { MAX_LIMIT } else { limit };
    match usize::try_from(size) {
        Ok(runs) if size <= MAX_LIMIT => Ok(runs),
        Ok(_) => {
            reject!("Invalid limit {limit} - it has to be no more than {MAX_LIMIT}.")
        }
        Err(_) => reject!("Invalid limit {limit} - it has to be positive."),
    }
}

impl ApiCall<'_> {
    /// `offset`, the number of runs to skip, exists for old clients only.
    pub(super) fn list_runs(&self, query: &Query) -> Result<Value, ApiError> {
        let limit = limit(query)?;
        let filter = Filter::parse(query)?;
        let expand_tasks = query.flag("expand_tasks")?;
        let mut skip = query.integer("offset")?.unwrap_or(0);
        let mut listed = 0;
        let mut last = None;
        let mut more = false;
        let runs = self.state.runs.read_all(|run, now| {
            if !filter.matches(run) {
                return None;
            }
            if skip > 0 {
                skip -= 1;
                return None;
            }
            if listed == limit {
                more = true;
                return None;
            }
            listed += 1;
            last = Some(run.id);
            Some(responses::listed_run(run, expand_tasks, &self.context(now)))
        });
        let mut response = json!({});
        if !runs.is_empty() {
            response["runs"] = runs.into();
        }
        if self.version != ApiVersion::V2_2 {
            response["has_more"] = more.into();
        }
        if let Some(last) = last.filter(|_| more) {
            response["next_page_token"] = format!("before-{last}").into();
        }
        Ok(response)
    }
}
