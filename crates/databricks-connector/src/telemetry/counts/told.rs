//! What was counted, as families for the server to show.

use std::{collections::BTreeMap, time::Duration};

use connector_core::{Count, Phase, Reading};

use super::{
    super::{BreakerSnapshot, BudgetSnapshot, LaneSnapshot, WorkspaceSnapshot},
    OTHER, Orphan, Seen,
};

type Labels = Vec<(&'static str, String)>;

/// One family.
#[derive(Clone, Copy)]
struct Family {
    name: &'static str,
    help: &'static str,
}

impl Family {
    fn count(self, labels: Labels, reading: Reading) -> Count {
        Count { name: self.name, help: self.help, labels, reading }
    }

    fn counter(self, labels: Labels, number: u64) -> Count {
        self.count(labels, Reading::Counter(float(number)))
    }

    fn gauge(self, labels: Labels, value: f64) -> Count {
        self.count(labels, Reading::Gauge(value))
    }
}

/// All of it. Counts of one family follow each other.
pub(super) fn counts(
    seen: &mut Seen,
    workspaces: &[WorkspaceSnapshot],
    runs: &BTreeMap<Phase, u64>,
) -> Vec<Count> {
    let mut counts = of_requests(seen);
    counts.extend(of_waits(seen));
    counts.extend(of_runs(seen, runs));
    counts.extend(of_now(seen, workspaces));
    counts
}

fn of_requests(seen: &Seen) -> Vec<Count> {
    let requests = Family {
        name: "flyte_connector_databricks_requests",
        help: "Requests to Databricks by what was answered; a kind of failure where no answer came",
    };
    let seconds = Family {
        name: "flyte_connector_databricks_request_seconds",
        help: "Time of the requests to Databricks, from sending to the whole answer",
    };
    let retries = Family {
        name: "flyte_connector_databricks_retries",
        help: "Requests to Databricks that were not the first of their call",
    };
    let tokens = Family {
        name: "flyte_connector_databricks_token_refreshes",
        help: "Tokens that were asked for at their authority or read from their file, by kind of credential",
    };
    let of_endpoint = |(workspace, endpoint): &(String, &'static str)| {
        vec![("workspace", workspace.clone()), ("endpoint", (*endpoint).to_owned())]
    };
    let mut counts: Vec<Count> = Vec::new();
    for ((workspace, endpoint, status, is_retry), number) in &seen.requests {
        let mut labels = of_endpoint(&(workspace.clone(), *endpoint));
        labels.push(("status", status.clone()));
        labels.push(("attempt", if *is_retry { "retry" } else { "first" }.to_owned()));
        counts.push(requests.counter(labels, *number));
    }
    counts.extend(seen.durations.iter().map(|(key, duration)| {
        seconds.count(of_endpoint(key), Reading::Counter(duration.as_secs_f64()))
    }));
    counts.extend(
        seen.retries.iter().map(|(key, number)| retries.counter(of_endpoint(key), *number)),
    );
    counts.extend(seen.mints.iter().map(|((kind, is_ok), number)| {
        let outcome = if *is_ok { "ok" } else { "failed" };
        tokens.counter(vec![("kind", (*kind).to_owned()), ("outcome", outcome.to_owned())], *number)
    }));
    counts
}

fn of_waits(seen: &Seen) -> Vec<Count> {
    let waits = Family {
        name: "flyte_connector_databricks_budget_waits",
        help: "Calls that waited for their turn in the budget of their workspace and credential",
    };
    let seconds = Family {
        name: "flyte_connector_databricks_budget_wait_seconds",
        help: "How long they waited",
    };
    let refused = Family {
        name: "flyte_connector_databricks_breaker_refused",
        help: "Calls that were not sent, because their workspace had failed too often",
    };
    let family = |family: Family, value: fn(&(u64, Duration)) -> f64| {
        seen.waits.iter().map(move |((workspace, lane, is_granted), wait)| {
            let labels = vec![
                ("workspace", workspace.clone()),
                ("lane", (*lane).to_owned()),
                ("outcome", if *is_granted { "granted" } else { "refused" }.to_owned()),
            ];
            family.count(labels, Reading::Counter(value(wait)))
        })
    };
    let mut counts: Vec<Count> = family(waits, |(number, _)| float(*number)).collect();
    counts.extend(family(seconds, |(_, waited)| waited.as_secs_f64()));
    counts.extend(seen.refused.iter().map(|(workspace, number)| {
        refused.counter(vec![("workspace", workspace.clone())], *number)
    }));
    counts
}

fn of_runs(seen: &Seen, runs: &BTreeMap<Phase, u64>) -> Vec<Count> {
    let watched = Family {
        name: "flyte_connector_databricks_runs",
        help: "Runs that this process was asked about in the last quarter of an hour, by the phase that it told last",
    };
    let until_running = Family {
        name: "flyte_connector_databricks_submit_to_running_seconds",
        help: "From a run's start to the first work of a task of it; told when the run has ended",
    };
    let took = Family {
        name: "flyte_connector_databricks_run_duration_seconds",
        help: "From a run's start to its end, by the phase that Flyte was told",
    };
    let orphans = Family {
        name: "flyte_connector_databricks_orphans_cancelled",
        help: "Runs that belonged to nobody and were cancelled: of earlier attempts, or of creations that Flyte was told had failed",
    };
    let given_up = Family {
        name: "flyte_connector_databricks_cancels_given_up",
        help: "Deletes answered with OK although the run could not be cancelled and may still be alive",
    };
    let mut counts: Vec<Count> = [Phase::WaitingForResources, Phase::Initializing, Phase::Running]
        .map(|phase| {
            let number = runs.get(&phase).copied().unwrap_or_default();
            watched.gauge(vec![("phase", format!("{phase:?}"))], float(number))
        })
        .into();
    counts.extend(seen.until_running.iter().map(|(workspace, distribution)| {
        let labels = vec![("workspace", workspace.clone())];
        until_running.count(labels, Reading::Histogram(distribution.clone()))
    }));
    counts.extend(seen.took.iter().map(|((workspace, phase), distribution)| {
        let labels = vec![("workspace", workspace.clone()), ("phase", format!("{phase:?}"))];
        took.count(labels, Reading::Histogram(distribution.clone()))
    }));
    counts.extend(
        [(Orphan::EarlierAttempt, "earlier_attempt"), (Orphan::Abandoned, "abandoned")].map(
            |(orphan, cause)| {
                let number = seen.orphans.get(&orphan).copied().unwrap_or_default();
                orphans.counter(vec![("cause", cause.to_owned())], number)
            },
        ),
    );
    counts.push(given_up.counter(Vec::new(), seen.given_up));
    counts
}

/// How the workspaces stand now. Those beyond the bound have no gauges.
fn of_now(seen: &mut Seen, workspaces: &[WorkspaceSnapshot]) -> Vec<Count> {
    let open = Family {
        name: "flyte_connector_databricks_breaker_open",
        help: "1 while calls to the workspace are not sent, because it has failed too often",
    };
    let in_flight = Family {
        name: "flyte_connector_databricks_calls_in_flight",
        help: "Calls to the workspace that are under way",
    };
    let rate = Family {
        name: "flyte_connector_databricks_budget_per_second",
        help: "The rate that the budgets of the workspace allow now; it falls after a 429",
    };
    let known: Vec<(String, &WorkspaceSnapshot)> = workspaces
        .iter()
        .map(|workspace| (seen.label(&workspace.host), workspace))
        .filter(|(label, _)| label != OTHER)
        .collect();
    let mut counts: Vec<Count> = known
        .iter()
        .map(|(label, workspace)| {
            let is_open = workspace.breaker != BreakerSnapshot::Closed;
            open.gauge(vec![("workspace", label.clone())], f64::from(u8::from(is_open)))
        })
        .collect();
    let lanes = |family: Family, value: fn(&LaneSnapshot) -> f64| {
        known.iter().flat_map(move |(label, workspace)| {
            let sum = |lane: fn(&BudgetSnapshot) -> &LaneSnapshot| -> f64 {
                workspace.budgets.iter().map(|budget| value(lane(budget))).sum()
            };
            [("reads", sum(|budget| &budget.reads)), ("writes", sum(|budget| &budget.writes))].map(
                |(lane, value)| {
                    let labels = vec![("workspace", label.clone()), ("lane", lane.to_owned())];
                    family.gauge(labels, value)
                },
            )
        })
    };
    counts.extend(lanes(in_flight, |lane| f64::from(lane.in_flight)));
    counts.extend(lanes(rate, |lane| lane.per_second));
    counts
}

#[expect(clippy::cast_precision_loss, reason = "a count that large is not told exactly")]
fn float(number: u64) -> f64 {
    number as f64
}
