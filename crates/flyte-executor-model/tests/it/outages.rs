//! The observed outages of a connector (flyte-contract.md#observed-outages): what each configuration of the executor makes of
//! a running task, and of a task that is started meanwhile.

use crate::scripted::{Outage, Stage, response};
use flyte_executor_model::{Deadlines, End, ExecutorSettings, Outputs, Task, TaskStatus};
use flyteidl2::core::task_execution::Phase as Wire;
use std::time::Duration;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// When the connector goes away, and the second task starts.
const GONE: Duration = seconds(31);
const STARTED: Duration = seconds(40);

struct Played {
    running: Stage,
    started: Stage,
    connected_at: Duration,
}

/// Plays an outage for a task that is RUNNING and ends once its connector is back, and for one without retries that is
/// started during the outage.
fn play(resync: Duration, deadlines: Deadlines, away: Duration) -> Played {
    let settings = || ExecutorSettings { resync, ..ExecutorSettings::default() };
    let outage = Outage { from: GONE, until: GONE + away, deadlines };
    let task = |retries| Task::new(settings(), retries, Outputs::Present, None);
    let running_polls = usize::try_from(GONE.as_secs() / resync.as_secs()).unwrap() + 1;
    let mut gets = vec![response(Wire::Running, ""); running_polls];
    gets.push(response(Wire::Succeeded, ""));
    let mut running = Stage::of(task(0), gets);
    running.outage = Some(outage);
    running.run_until(Duration::from_hours(1));
    let mut started = Stage::beginning_at(STARTED, task(0), vec![response(Wire::Succeeded, "")]);
    started.outage = Some(outage);
    started.run_until(Duration::from_hours(1));
    Played { running, started, connected_at: outage.connected_at() }
}

/// The task started meanwhile has failed without a try of the connector.
fn assert_start_failed(started: &Stage) {
    assert_eq!(started.names(), ["create failed"]);
    assert!(started.failure().2.contains("context deadline exceeded"), "{:?}", started.failure());
}

#[test]
fn short_outage_costs_a_new_task_with_a_timeout_of_twenty_seconds() {
    let deadlines = Deadlines::configured(seconds(20), &[]);
    let Played { running, started, .. } = play(seconds(5), deadlines, seconds(46));
    assert_eq!(running.task.end(), Some(&End::Success));
    assert_start_failed(&started);
}

#[test]
fn long_outage_freezes_a_running_task_with_a_timeout_of_twenty_seconds() {
    let long =
        [("CreateTask", seconds(300)), ("GetTask", seconds(600)), ("DeleteTask", seconds(300))];
    // The timeouts of the methods have no effect.
    for timeouts in [&[][..], &long] {
        for away in [210, 250] {
            let deadlines = Deadlines::configured(seconds(20), timeouts);
            let Played { running, started, .. } = play(seconds(30), deadlines, seconds(away));
            assert_eq!(running.task.status(), TaskStatus::Frozen, "{away} s");
            assert_eq!(running.count("get failed"), 6, "{away} s");
            assert_start_failed(&started);
        }
    }
}

#[test]
fn long_outage_costs_nothing_with_a_timeout_of_ten_minutes() {
    let deadlines = Deadlines::configured(seconds(600), &[]);
    let Played { running, started, connected_at } = play(seconds(30), deadlines, seconds(243));
    // gRPC connects again up to two minutes after the return.
    assert!(
        (seconds(243)..seconds(243 + 120)).contains(&connected_at.saturating_sub(GONE)),
        "{connected_at:?}"
    );
    for stage in [&running, &started] {
        assert_eq!(stage.task.end(), Some(&End::Success));
        assert!(stage.names().iter().all(|name| !name.ends_with("failed")), "{:?}", stage.names());
    }
    assert_eq!(started.count("create"), 1);
}
