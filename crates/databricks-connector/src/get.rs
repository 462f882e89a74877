//! Tells how a run stands. Whatever may pass is an answer, not an error (DESIGN §3.1).

use std::time::{Duration, Instant};

use connector_core::{CallContext, Error, Phase, Resource};
use databricks_client::{Client, ErrorKind, Host, RunId, jobs::Run};
use tracing::{info, warn};

use crate::{
    DatabricksConnector,
    connector::{host_of, no_credentials},
    links,
    phase::{self, Outcome, Progress},
    reason::{self, FailedTask, MAX_FAILED_TASKS},
    run_meta::RunMeta,
    watch::{Trouble, Verdict},
};

/// The phase of a run with its reason and links.
///
/// # Errors
///
/// `InvalidMeta` alone: anything else may pass.
pub(crate) async fn resource(
    connector: &DatabricksConnector,
    cx: &CallContext,
    meta: &RunMeta,
) -> Result<Resource, Error> {
    let host = host_of(meta)?;
    let run_id = meta.run_id;
    if let Err(refused) = connector.permit(&host) {
        return Ok(troubled(connector, &host, run_id, Trouble::Refused, &refused));
    }
    let Some(credentials) = connector.credentials_of(&host, &cx.connection, meta) else {
        return Ok(troubled(connector, &host, run_id, Trouble::Refused, &no_credentials(&host)));
    };
    connector.watch.remember_credentials(&host, run_id, &credentials, Instant::now());
    let client = connector.client(&host, credentials, cx.deadline);
    Ok(match client.get_run(run_id).await {
        Ok(run) => judged(connector, &client, run_id, &run).await,
        Err(error) => {
            let trouble = trouble_of(error.kind());
            let told = crate::error::from_client(
                &format!("reading the run with {}", client.credentials_name()),
                error,
            );
            troubled(connector, &host, run_id, trouble, &told)
        }
    })
}

/// Whether it passes by itself.
fn trouble_of(kind: ErrorKind) -> Trouble {
    match kind {
        // A token that no header can carry is refused before it is sent.
        ErrorKind::Unauthenticated | ErrorKind::Forbidden | ErrorKind::Config => Trouble::Refused,
        ErrorKind::RunNotFound => Trouble::Gone,
        // Any other refusal of a plain read comes from something between us and the workspace.
        _ => Trouble::Passing,
    }
}

/// The answer when the run was read.
async fn judged(
    connector: &DatabricksConnector,
    client: &Client,
    run_id: RunId,
    run: &Run,
) -> Resource {
    let host = client.host();
    let progress = phase::progress(run);
    let resource = match progress {
        Progress::Ended(Outcome::Succeeded) => Resource::new(Phase::Succeeded),
        Progress::Ended(_) => match failure(client, run).await {
            Ok(message) => Resource::new(progress.phase(connector.settings.user_failures))
                .with_message(message),
            Err(Passing) if connector.watch.may_ask_again(host, run_id, Instant::now()) => {
                Resource::new(Phase::Running)
                    .with_message("the run has ended; its reason is being read")
            }
            Err(Passing) => {
                warn!(%host, %run_id, "the reason of a failed run could not be read");
                Resource::new(progress.phase(connector.settings.user_failures))
                    .with_message(reason::of_failure(run, &unread(run), 0))
            }
        },
        Progress::Waiting | Progress::Preparing | Progress::Running => {
            Resource::new(progress.phase(connector.settings.user_failures))
                .with_message(reason::of_progress(run))
        }
    };
    connector.watch.seen(host, run_id, resource.phase, Instant::now());
    if resource.phase.is_terminal() {
        // Flyte drops the reason of a retried failure (FC §8.2), so it stands here too.
        info!(%host, %run_id, phase = ?resource.phase, reason = %resource.message, "run ended");
    }
    links::add(resource, host, run_id, run)
}

/// A failed task's output could not be read, for a cause that passes.
struct Passing;

/// Why the run failed, with the errors that its tasks wrote.
async fn failure(client: &Client, run: &Run) -> Result<String, Passing> {
    let failed = reason::failed_tasks(run);
    let left_out = failed.len().saturating_sub(MAX_FAILED_TASKS);
    let mut told = Vec::new();
    for task in failed.into_iter().take(MAX_FAILED_TASKS) {
        let output = match task.run_id {
            None => None,
            Some(task_run_id) => match client.get_run_output(task_run_id).await {
                Ok(output) => Some(output),
                Err(error) if error.is_retryable() => return Err(Passing),
                // Not every kind of task has an output, and not every principal may read it.
                Err(_) => None,
            },
        };
        told.push(FailedTask { task, output });
    }
    Ok(reason::of_failure(run, &told, left_out))
}

/// The failed tasks without their outputs.
fn unread(run: &Run) -> Vec<FailedTask<'_>> {
    reason::failed_tasks(run)
        .into_iter()
        .take(MAX_FAILED_TASKS)
        .map(|task| FailedTask { task, output: None })
        .collect()
}

/// The answer when the run could not be read: the last known phase, or the end of our patience.
fn troubled(
    connector: &DatabricksConnector,
    host: &Host,
    run_id: RunId,
    trouble: Trouble,
    error: &Error,
) -> Resource {
    let verdict = connector.watch.troubled(
        host,
        run_id,
        trouble,
        connector.settings.patience,
        Instant::now(),
    );
    let told = told(error);
    match verdict {
        Verdict::Wait { phase, lasted } => {
            warn!(%host, %run_id, ?phase, seconds = lasted.as_secs(), error = %told, "the run could not be read");
            Resource::new(phase)
                .with_message(format!("no news of the run for {}: {told}", words(lasted)))
        }
        Verdict::GiveUp { phase, lasted } => {
            warn!(%host, %run_id, ?phase, seconds = lasted.as_secs(), error = %told, "the run was given up");
            let still = match trouble {
                Trouble::Refused => "; the run itself may still be alive",
                Trouble::Passing | Trouble::Gone => "",
            };
            Resource::new(phase).with_message(format!(
                "given up after {} without news of the run: {told}{still}",
                words(lasted)
            ))
        }
    }
}

/// The error with its causes and its hint, in one line.
fn told(error: &Error) -> String {
    let text = crate::error::with_causes(error);
    match error.hint() {
        Some(hint) => format!("{text}; {hint}"),
        None => text,
    }
}

/// A duration as a person says it.
fn words(lasted: Duration) -> String {
    match lasted.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
