//! The three tasks of the demo: what is sent, what the workspace does with it, and what has to come of it.

use std::time::Duration;

use databricks_emulator::{LifeCycle, Outcome, Pace, Script, Step};
use flyteidl2::core::task_execution::Phase;

use super::{
    outcome::Expected,
    requests::{EXISTING_CLUSTER, FIRST_ATTEMPT, NEW_CLUSTER},
};

/// How long a step of a run lasts.
const STEP: Duration = Duration::from_millis(400);

const FAILURE: &str = "ValueError: partitions must be positive, got 0";

const TRACE: &str = "\
Traceback (most recent call last):
  File \"/databricks/driver/spark_jobs.py\", line 21, in new_cluster_pi
    return estimate(n, partitions)
  File \"/databricks/driver/spark_jobs.py\", line 9, in estimate
    raise ValueError(f\"partitions must be positive, got {partitions}\")
ValueError: partitions must be positive, got 0";

/// One task of the demo.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    /// The scene in JSON and in the summary.
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    /// What a newcomer has to know to understand what is seen.
    pub(super) told: &'static str,
    pub(super) captured: &'static [u8],
    pub(super) run_name: &'static str,
    pub(super) script: Script,
    pub(super) ending: Ending,
    pub(super) expected: Expected,
}

/// Who ends the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The run itself.
    ByItself,
    /// The demo, as soon as it was seen running that often.
    DeleteOnceRunning { polls: u32 },
}

/// All of them, in order.
pub(super) fn all() -> [Scene; 3] {
    [
        Scene {
            key: "succeeds",
            title: "a task that succeeds",
            told: "Flyte's executor sends CreateTask: bytes that were captured from a running Flyte 2 backend. On \
                   open-source Flyte a task brings no token, so the connector submits the run with its own token for \
                   this workspace. The executor then asks GetTask until the run has ended.",
            captured: FIRST_ATTEMPT,
            run_name: "demo succeeds",
            script: script().with_logs("reading 10 numbers\nsum of squares: 385\n"),
            ending: Ending::ByItself,
            expected: Expected {
                end: Phase::Succeeded,
                message: "",
                log: Some("sum of squares: 385"),
            },
        },
        Scene {
            key: "fails",
            title: "a task whose code fails",
            told: "This task brings a token of its own, which is used instead of the connector's. Its code raises an \
                   exception, and the answer says which, with the stack. RETRYABLE_FAILED lets Flyte try again, if \
                   the task asks for retries.",
            captured: NEW_CLUSTER,
            run_name: "demo fails",
            script: Script {
                outcome: Outcome::Failed {
                    error: FAILURE.to_owned(),
                    error_trace: TRACE.to_owned(),
                },
                ..script().with_logs("estimating pi with 0 partitions\n")
            },
            ending: Ending::ByItself,
            expected: Expected {
                end: Phase::RetryableFailed,
                message: FAILURE,
                log: Some("0 partitions"),
            },
        },
        Scene {
            key: "is cancelled",
            title: "a task that is cancelled",
            told: "This one would run for long on a cluster that exists already. Somebody aborts it in Flyte, so the \
                   executor sends DeleteTask while it runs, and the connector cancels the Databricks run. Flyte asks \
                   no more then; the demo goes on asking, to show that the run has stopped.",
            captured: EXISTING_CLUSTER,
            run_name: "demo is cancelled",
            script: script().with_steps([
                Step::new(LifeCycle::Queued).with_message(QUEUED),
                Step::new(LifeCycle::Pending).with_message("waiting for the cluster"),
                Step::new(LifeCycle::Running).with_message("in run").with_hold(1000),
            ]),
            ending: Ending::DeleteOnceRunning { polls: 3 },
            expected: Expected { end: Phase::Failed, message: "ancel", log: None },
        },
    ]
}

const QUEUED: &str = "queued: the workspace is at its limit of active runs";

fn script() -> Script {
    Script::success().with_pace(Pace::Elapsed(STEP)).with_steps([
        Step::new(LifeCycle::Queued).with_message(QUEUED),
        Step::new(LifeCycle::Pending).with_message("waiting for the cluster"),
        Step::new(LifeCycle::Running).with_message("in run"),
    ])
}
