//! `runs/list` (DA §1.5): latest first, in pages.

use super::Call;
use super::query::Query;
use crate::answers;
use crate::endpoint::ApiVersion;
use crate::refusal::{Refusal, invalid};
use crate::script::LifeCycle;
use crate::workspace::{Run, Standing};
use serde_json::{Value, json};

/// Runs in a page when nothing else is asked for.
const DEFAULT_LIMIT: i64 = 20;

/// The largest page that the service was seen to allow.
const MAX_LIMIT: i64 = 26;

/// Which runs are asked for.
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
    fn of(query: &'a Query) -> Result<Self, Refusal> {
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
            && (!self.completed_only || run.timeline.ended())
            && self.job_id.is_none_or(|job_id| run.job_id == job_id)
            && self.run_type.is_none_or(|run_type| run_type == "SUBMIT_RUN")
            && self.start_time_from.is_none_or(|from| from <= started)
            && self.start_time_to.is_none_or(|to| started <= to)
            && self.before.is_none_or(|before| run.id < before)
    }
}

/// `active_only` names these four states and no other.
fn is_active(run: &Run) -> bool {
    let named = [LifeCycle::Queued, LifeCycle::Pending, LifeCycle::Running, LifeCycle::Terminating];
    matches!(run.standing(), Standing::On { step, .. } if named.contains(&step.state))
}

fn parse_page_token(token: &str) -> Option<i64> {
    token.strip_prefix("before-")?.parse().ok()
}

fn limit(query: &Query) -> Result<usize, Refusal> {
    let limit = query.integer("limit")?.unwrap_or(DEFAULT_LIMIT);
    let wanted = if limit == 0 { MAX_LIMIT } else { limit };
    match usize::try_from(wanted) {
        Ok(wanted_runs) if wanted <= MAX_LIMIT => Ok(wanted_runs),
        Ok(_) => {
            Err(invalid(format!("Invalid limit {limit} - it has to be no more than {MAX_LIMIT}.")))
        }
        Err(_) => Err(invalid(format!("Invalid limit {limit} - it has to be positive."))),
    }
}

impl Call<'_> {
    /// `offset` counts runs to leave out and is only there for old clients.
    pub(super) fn list_runs(&self, query: &Query) -> Result<Value, Refusal> {
        let limit = limit(query)?;
        let filter = Filter::of(query)?;
        let expand_tasks = query.flag("expand_tasks")?;
        let mut skip = query.integer("offset")?.unwrap_or(0);
        let mut listed = 0;
        let mut last = None;
        let mut more = false;
        let runs = self.shared.workspace.read_all(|run, now| {
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
            Some(answers::listed_run(run, expand_tasks, &self.asked(now)))
        });
        let mut answer = json!({});
        if let Some(answer) = answer.as_object_mut() {
            if !runs.is_empty() {
                answer.insert("runs".to_owned(), runs.into());
            }
            if self.version != ApiVersion::V2_2 {
                answer.insert("has_more".to_owned(), more.into());
            }
            if let Some(last) = last.filter(|_| more) {
                answer.insert("next_page_token".to_owned(), format!("before-{last}").into());
            }
        }
        Ok(answer)
    }
}
