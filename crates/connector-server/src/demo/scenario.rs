//! The demo's three tasks: the request, the scripted run and the expected result. No I/O.

use std::time::Duration;

use databricks_emulator::{LifeCycle, Outcome, Pace, Script, Step};
use flyteidl2::core::task_execution::Phase;

use super::{
    outcome::Expected,
    request::{EXISTING_CLUSTER, FIRST_ATTEMPT, NEW_CLUSTER},
};

/// Duration of each step of a scripted run.
const STEP: Duration = Duration::from_millis(400);

const QUEUED: &str = "queued: the workspace is at its limit of active runs";

const EXCEPTION: &str = "ValueError: partitions must be positive, got 0";

const STACK_TRACE: &str = "\
Traceback (most recent call last):
  File \"/databricks/driver/spark_jobs.py\", line 21, in new_cluster_pi
    return estimate(n, partitions)
  File \"/databricks/driver/spark_jobs.py\", line 9, in estimate
    raise ValueError(f\"partitions must be positive, got {partitions}\")
ValueError: partitions must be positive, got 0";

/// One task of the demo.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    /// Identifies the task in the JSON output and in the summary.
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    /// Introduces the scenario.
    pub(super) introduction: &'static str,
    /// An encoded `CreateTaskRequest`.
    pub(super) captured: &'static [u8],
    /// The run's name, by which the emulator finds `script`.
    pub(super) run_name: &'static str,
    pub(super) script: Script,
    /// Whether the demo sends `DeleteTask` while the run is running, instead of after its end.
    pub(super) abort: bool,
    pub(super) expected: Expected,
}

/// Returns the three scenarios in the order in which they run.
pub(super) fn all() -> [Scenario; 3] {
    [
        Scenario {
            key: "succeeds",
            title: "a task that succeeds",
            introduction: "Flyte's executor sends CreateTask: here a request captured from a running Flyte 2 backend. \
                           On open-source Flyte a request carries no token, so the connector submits the run with its \
                           own token for this workspace. The executor then polls GetTask until the run has ended.",
            captured: FIRST_ATTEMPT,
            run_name: "demo succeeds",
            script: script().with_logs("reading 10 numbers\nsum of squares: 385\n"),
            abort: false,
            expected: Expected {
                phase: Phase::Succeeded,
                message: "",
                log_line: Some("sum of squares: 385"),
            },
        },
        Scenario {
            key: "fails",
            title: "a task whose code fails",
            introduction: "This task carries its own token, which takes precedence over the connector's. Its code \
                           raises an exception, and GetTask returns the exception with its stack trace. \
                           RETRYABLE_FAILED makes Flyte retry the task if it has retries left.",
            captured: NEW_CLUSTER,
            run_name: "demo fails",
            script: Script {
                outcome: Outcome::Failed {
                    error: EXCEPTION.to_owned(),
                    error_trace: STACK_TRACE.to_owned(),
                },
                ..script().with_logs("estimating pi with 0 partitions\n")
            },
            abort: false,
            expected: Expected {
                phase: Phase::RetryableFailed,
                message: EXCEPTION,
                log_line: Some("0 partitions"),
            },
        },
        Scenario {
            key: "is cancelled",
            title: "a task that is cancelled",
            introduction: "A long task on an existing cluster. The user aborts it in Flyte, so the executor sends \
                           DeleteTask while the run is running, and the connector cancels the Databricks run. Flyte \
                           stops polling after DeleteTask; the demo polls on, to show that the run has stopped.",
            captured: EXISTING_CLUSTER,
            run_name: "demo is cancelled",
            script: script().with_steps([
                Step::new(LifeCycle::Queued).with_message(QUEUED),
                Step::new(LifeCycle::Pending).with_message("waiting for the cluster"),
                Step::new(LifeCycle::Running).with_message("in run").with_hold(1000),
            ]),
            abort: true,
            expected: Expected { phase: Phase::Failed, message: "ancel", log_line: None },
        },
    ]
}

fn script() -> Script {
    Script::success().with_pace(Pace::Elapsed(STEP)).with_steps([
        Step::new(LifeCycle::Queued).with_message(QUEUED),
        Step::new(LifeCycle::Pending).with_message("waiting for the cluster"),
        Step::new(LifeCycle::Running).with_message("in run"),
    ])
}
