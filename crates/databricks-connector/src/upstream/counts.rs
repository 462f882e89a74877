//! The calls to Databricks in numbers: counted as they happen, and read from the workspaces' own state.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use connector_core::{Count, CountKind, Phase};

use super::{
    Attempt, BreakerSnapshot, BudgetWait, Host, Lane, LaneSnapshot, Observer, WorkspaceSnapshot,
};

/// Workspaces with numbers of their own. A task chooses its workspace, so that there must be a bound.
const MAX_WORKSPACES: usize = 100;

/// What stands for the workspaces beyond.
const OTHER: &str = "other";

/// Counts every request and every wait, and tells another observer of each.
#[derive(Debug)]
pub(crate) struct UpstreamCounts {
    seen: Mutex<Seen>,
    next: Option<Arc<dyn Observer>>,
}

#[derive(Debug, Default)]
struct Seen {
    workspaces: Vec<String>,
    /// By workspace, endpoint, outcome, and whether it was a retry.
    requests: BTreeMap<(String, &'static str, String, bool), u64>,
    /// By workspace and endpoint.
    durations: BTreeMap<(String, &'static str), Duration>,
    /// By workspace, lane, and whether it got its turn.
    waits: BTreeMap<(String, &'static str, bool), (u64, Duration)>,
    refused: BTreeMap<String, u64>,
}

impl Seen {
    /// The workspace as a label.
    fn label(&mut self, host: &Host) -> String {
        let name = host.as_str();
        if !self.workspaces.iter().any(|known| known == name) {
            if self.workspaces.len() >= MAX_WORKSPACES {
                return OTHER.to_owned();
            }
            self.workspaces.push(name.to_owned());
        }
        name.to_owned()
    }
}

impl Seen {
    fn waited(&mut self, host: &Host, lane: Lane, waited: Duration, is_granted: bool) {
        let workspace = self.label(host);
        let (number, all) =
            self.waits.entry((workspace, lane_label(lane), is_granted)).or_default();
        *number += 1;
        *all += waited;
    }
}

impl UpstreamCounts {
    pub(crate) fn new(next: Option<Arc<dyn Observer>>) -> Self {
        Self { seen: Mutex::new(Seen::default()), next }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it, with how the workspaces and the watched runs stand now.
    pub(crate) fn counts(
        &self,
        workspaces: &[WorkspaceSnapshot],
        runs: &BTreeMap<Phase, u64>,
    ) -> Vec<Count> {
        let mut seen = self.lock();
        let mut counts = Vec::new();
        for ((workspace, endpoint, status, is_retry), number) in &seen.requests {
            counts.push(Count {
                name: "flyte_connector_databricks_requests",
                help: "Requests to Databricks by what was answered; a kind of failure where no answer came",
                kind: CountKind::Counter,
                labels: vec![
                    ("workspace", workspace.clone()),
                    ("endpoint", (*endpoint).to_owned()),
                    ("status", status.clone()),
                    ("attempt", if *is_retry { "retry" } else { "first" }.to_owned()),
                ],
                value: float(*number),
            });
        }
        for ((workspace, endpoint), duration) in &seen.durations {
            counts.push(Count {
                name: "flyte_connector_databricks_request_seconds",
                help: "Time of the requests to Databricks, from sending to the whole answer",
                kind: CountKind::Counter,
                labels: vec![
                    ("workspace", workspace.clone()),
                    ("endpoint", (*endpoint).to_owned()),
                ],
                value: duration.as_secs_f64(),
            });
        }
        let waits = |name, help, value: fn(&(u64, Duration)) -> f64| {
            seen.waits.iter().map(move |((workspace, lane, is_granted), wait)| Count {
                name,
                help,
                kind: CountKind::Counter,
                labels: vec![
                    ("workspace", workspace.clone()),
                    ("lane", (*lane).to_owned()),
                    ("outcome", if *is_granted { "granted" } else { "refused" }.to_owned()),
                ],
                value: value(wait),
            })
        };
        counts.extend(waits(
            "flyte_connector_databricks_budget_waits",
            "Calls that waited for their turn in the budget of their workspace and credential",
            |(number, _)| float(*number),
        ));
        counts.extend(waits(
            "flyte_connector_databricks_budget_wait_seconds",
            "How long they waited",
            |(_, waited)| waited.as_secs_f64(),
        ));
        for (workspace, number) in &seen.refused {
            counts.push(Count {
                name: "flyte_connector_databricks_breaker_refused",
                help: "Calls that were not sent, because their workspace had failed too often",
                kind: CountKind::Counter,
                labels: vec![("workspace", workspace.clone())],
                value: float(*number),
            });
        }
        counts.extend(of_now(&mut seen, workspaces));
        for phase in [Phase::WaitingForResources, Phase::Initializing, Phase::Running] {
            counts.push(Count {
                name: "flyte_connector_databricks_runs",
                help: "Runs that this process watches, by the phase that it told last",
                kind: CountKind::Gauge,
                labels: vec![("phase", format!("{phase:?}"))],
                value: float(runs.get(&phase).copied().unwrap_or_default()),
            });
        }
        counts
    }
}

/// How the workspaces stand now. Those beyond the bound have no gauges.
fn of_now(seen: &mut Seen, workspaces: &[WorkspaceSnapshot]) -> Vec<Count> {
    let known: Vec<(String, &WorkspaceSnapshot)> = workspaces
        .iter()
        .map(|workspace| (seen.label(&workspace.host), workspace))
        .filter(|(label, _)| label != OTHER)
        .collect();
    let mut counts: Vec<Count> = known
        .iter()
        .map(|(label, workspace)| Count {
            name: "flyte_connector_databricks_breaker_open",
            help: "1 while calls to the workspace are not sent, because it has failed too often",
            kind: CountKind::Gauge,
            labels: vec![("workspace", label.clone())],
            value: f64::from(u8::from(workspace.breaker != BreakerSnapshot::Closed)),
        })
        .collect();
    let lanes = |name, help, value: fn(&LaneSnapshot) -> f64| {
        known.iter().flat_map(move |(label, workspace)| {
            let sum = |lane: fn(&super::BudgetSnapshot) -> &LaneSnapshot| -> f64 {
                workspace.budgets.iter().map(|budget| value(lane(budget))).sum()
            };
            [("reads", sum(|budget| &budget.reads)), ("writes", sum(|budget| &budget.writes))].map(
                |(lane, value)| Count {
                    name,
                    help,
                    kind: CountKind::Gauge,
                    labels: vec![("workspace", label.clone()), ("lane", lane.to_owned())],
                    value,
                },
            )
        })
    };
    let in_flight = lanes(
        "flyte_connector_databricks_calls_in_flight",
        "Calls to the workspace that are under way",
        |lane| f64::from(lane.in_flight),
    );
    let rate = lanes(
        "flyte_connector_databricks_budget_per_second",
        "The rate that the budgets of the workspace allow now; it falls after a 429",
        |lane| lane.per_second,
    );
    let more: Vec<Count> = in_flight.chain(rate).collect();
    // One family after the other, as the format wants them.
    let (mut first, second): (Vec<Count>, Vec<Count>) = more
        .into_iter()
        .partition(|count| count.name == "flyte_connector_databricks_calls_in_flight");
    first.extend(second);
    counts.extend(first);
    counts
}

#[expect(clippy::cast_precision_loss, reason = "a count that large is not told exactly")]
fn float(number: u64) -> f64 {
    number as f64
}

fn lane_label(lane: Lane) -> &'static str {
    match lane {
        Lane::Reads => "reads",
        Lane::Writes => "writes",
    }
}

impl Observer for UpstreamCounts {
    fn attempted(&self, attempt: &Attempt<'_>) {
        {
            let mut seen = self.lock();
            let workspace = seen.label(attempt.host);
            let outcome = match (attempt.status, attempt.failure) {
                (Some(status), _) => status.to_string(),
                (None, Some(kind)) => format!("{kind:?}"),
                (None, None) => "none".to_owned(),
            };
            let is_retry = attempt.number > 1;
            let key = (workspace.clone(), attempt.endpoint, outcome, is_retry);
            *seen.requests.entry(key).or_default() += 1;
            *seen.durations.entry((workspace, attempt.endpoint)).or_default() += attempt.duration;
        }
        if let Some(next) = &self.next {
            next.attempted(attempt);
        }
    }

    fn waited(&self, wait: &BudgetWait<'_>) {
        self.lock().waited(wait.host, wait.lane, wait.waited, wait.is_granted);
        if let Some(next) = &self.next {
            next.waited(wait);
        }
    }

    fn refused(&self, host: &Host) {
        {
            let mut seen = self.lock();
            let workspace = seen.label(host);
            *seen.refused.entry(workspace).or_default() += 1;
        }
        if let Some(next) = &self.next {
            next.refused(host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_cannot_make_up_labels_without_end() {
        let counts = UpstreamCounts::new(None);
        for n in 0..=MAX_WORKSPACES {
            let host = Host::parse(&format!("w{n}.cloud.databricks.com")).unwrap();
            counts.refused(&host);
        }
        let told = counts.counts(&[], &BTreeMap::new());
        let labels: Vec<&str> = told
            .iter()
            .filter(|count| count.name.ends_with("breaker_refused"))
            .map(|count| count.labels[0].1.as_str())
            .collect();
        assert_eq!(labels.len(), MAX_WORKSPACES + 1);
        assert!(labels.contains(&OTHER));
    }

    #[test]
    fn counts_of_one_name_follow_each_other() {
        let counts = UpstreamCounts::new(None);
        let host = Host::parse("w.cloud.databricks.com").unwrap();
        for (is_granted, lane) in [(true, Lane::Reads), (false, Lane::Writes)] {
            let waited = Duration::from_millis(1500);
            counts.lock().waited(&host, lane, waited, is_granted);
        }
        let names: Vec<&str> =
            counts.counts(&[], &BTreeMap::new()).iter().map(|count| count.name).collect();
        let mut once = names.clone();
        once.dedup();
        let mut all = once.clone();
        all.sort_unstable();
        all.dedup();
        assert_eq!(once.len(), all.len(), "{names:?}");
        let told = counts.counts(&[], &BTreeMap::new());
        let waited = told.iter().find(|count| count.name.ends_with("wait_seconds")).unwrap();
        assert!((waited.value - 1.5).abs() < 1e-9);
    }
}
