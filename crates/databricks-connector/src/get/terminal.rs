//! The answer for a run that is over: looks at what its work left, and tells the truth about it.

use std::time::{Duration, Instant};

use connector_core::{CallContext, Phase, Resource};
use databricks_client::{Client, clusters::Cluster, jobs::Run};
use tracing::{debug, warn};

use crate::{
    context::Context,
    get::{
        declared_outputs::{self, Missing},
        outputs::Declared,
        phase::{Outcome, Progress},
        reason::{self, FailedTask, MAX_FAILED_TASKS},
        terminal_rules::{self, Rules, Ruling},
    },
    run_meta::RunMeta,
    task_files::{self, Looked},
};

/// How long the end of a cluster may take to read.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(2);

/// What to say of a run that failed although the function left outputs.
const AFTER_OUTPUTS: &str = "the function itself had written its outputs (outputs.pb); what failed came after it, such as the end of its process";

/// The resource of a run that ended like this.
pub(crate) async fn resource(
    context: &Context,
    client: &Client,
    cx: &CallContext,
    meta: &RunMeta,
    run: &Run,
    outcome: Outcome,
) -> Resource {
    match &meta.outputs {
        None => of_runtime(context, client, cx, meta, run, outcome).await,
        Some(_) if outcome != Outcome::Succeeded => {
            let phase = Progress::Ended(outcome).phase(context.settings.user_failures);
            failed(context, client, meta, run, phase).await
        }
        Some(declared) => of_own_work(context, client, meta, run, declared).await,
    }
}

/// Flyte's runtime writes an error file, or outputs.
async fn of_runtime(
    context: &Context,
    client: &Client,
    cx: &CallContext,
    meta: &RunMeta,
    run: &Run,
    outcome: Outcome,
) -> Resource {
    let prefix = cx.output_prefix.as_str();
    let files = context.settings.task_files.as_ref();
    // Without a prefix there is nowhere to look, and the run speaks for itself.
    let (error, outputs) = match outcome {
        Outcome::Succeeded if prefix.is_empty() => (Looked::Absent, Looked::Found(())),
        _ if prefix.is_empty() => (Looked::Absent, Looked::Absent),
        Outcome::Succeeded | Outcome::UserFailure => {
            let error = task_files::error_file(files, prefix, cx.deadline).await;
            let outputs = match error {
                Looked::Absent => task_files::outputs_file(files, prefix, cx.deadline).await,
                Looked::Found(_) | Looked::Passing(_) | Looked::Lasting(_) => Looked::Absent,
            };
            (error, outputs)
        }
        Outcome::PlatformFailure | Outcome::Final | Outcome::Upstream => {
            (Looked::Absent, Looked::Absent)
        }
    };
    // Whether a failed run has outputs is worth no further poll.
    let passing = matches!(error, Looked::Passing(_))
        || (outcome == Outcome::Succeeded && matches!(outputs, Looked::Passing(_)));
    let rules = Rules {
        user_failures: context.settings.user_failures,
        require_error_file: context.settings.require_error_file,
        may_ask_again: passing && may_ask_again(context, client, meta),
    };
    match terminal_rules::of_runtime(outcome, error, outputs, rules) {
        Ruling::AskAgain(why) => asking_again(&why),
        Ruling::Tell { phase: Phase::Succeeded, warning, .. } => {
            if let Some(why) = warning
                && let Some(bucket) = context.unverified_successes.one_more(prefix)
            {
                warn!(host = %client.host(), run_id = %meta.run_id, bucket, why,
                    "a success could not be checked for an error file; further ones of this bucket are only counted");
            }
            Resource::new(Phase::Succeeded)
        }
        Ruling::Tell { phase, reason: Some(reason), .. } => {
            Resource::new(phase).with_message(reason::of_error_file(&reason))
        }
        Ruling::Tell { phase, reason: None, .. } => failed(context, client, meta, run, phase).await,
        Ruling::FailedAfterOutputs(phase) => {
            let failed = failed(context, client, meta, run, phase).await;
            let message = match failed.phase {
                Phase::Running => failed.message,
                _ => format!("{}\n{AFTER_OUTPUTS}", failed.message),
            };
            Resource { message, ..failed }
        }
    }
}

/// Work of the user's own returns what the run's output says.
async fn of_own_work(
    context: &Context,
    client: &Client,
    meta: &RunMeta,
    run: &Run,
    declared: &Declared,
) -> Resource {
    let why = match declared_outputs::succeeded(client, run, declared).await {
        Ok(resource) => return resource,
        Err(Missing::Unread(error))
            if error.is_retryable() && may_ask_again(context, client, meta) =>
        {
            return asking_again(&error.to_string());
        }
        Err(Missing::Unread(error)) => format!("its output cannot be read: {error}"),
        Err(Missing::NotGiven(why)) => {
            let names: Vec<&str> = declared.keys().map(String::as_str).collect();
            format!("the declared output `{}` cannot be filled: {why}", names.join("`, `"))
        }
    };
    Resource::new(Phase::Failed).with_message(format!("the run succeeded, but {why}"))
}

/// A failure with the errors that its tasks wrote.
async fn failed(
    context: &Context,
    client: &Client,
    meta: &RunMeta,
    run: &Run,
    phase: Phase,
) -> Resource {
    let Failure { told, left_out, passing } = failure(client, run).await;
    if let Some(why) = passing {
        if may_ask_again(context, client, meta) {
            return asking_again(&format!("its error cannot be read now: {why}"));
        }
        warn!(host = %client.host(), run_id = %meta.run_id, why, "the reason of a failed run could not be read");
    }
    let cluster = cluster(client, meta, reason::cluster_of(&told)).await;
    Resource::new(phase).with_message(reason::of_failure(run, &told, left_out, cluster.as_ref()))
}

/// How the cluster of a failed run ended, where that can be read soon. It is worth no poll and no error: the run has
/// told its own reason already.
async fn cluster(client: &Client, meta: &RunMeta, cluster_id: Option<&str>) -> Option<Cluster> {
    match client.clone().with_timeout(CLUSTER_PATIENCE).get_cluster(cluster_id?).await {
        Ok(cluster) => Some(cluster),
        Err(error) => {
            debug!(host = %client.host(), run_id = %meta.run_id, %error, "the cluster of a failed run could not be read");
            None
        }
    }
}

fn may_ask_again(context: &Context, client: &Client, meta: &RunMeta) -> bool {
    context.run_tracker.may_ask_again(client.host(), meta.run_id, Instant::now())
}

fn asking_again(why: &str) -> Resource {
    Resource::new(Phase::Running)
        .with_message(format!("the run has ended; how is being read: {why}"))
}

/// What could be read of the failed tasks.
struct Failure<'a> {
    told: Vec<FailedTask<'a>>,
    /// Failed tasks that are not among them.
    left_out: usize,
    /// Why an output is missing, if that passes.
    passing: Option<String>,
}

async fn failure<'a>(client: &Client, run: &'a Run) -> Failure<'a> {
    let failed = reason::failed_tasks(run);
    let left_out = failed.len().saturating_sub(MAX_FAILED_TASKS);
    let mut failure = Failure { told: Vec::new(), left_out, passing: None };
    for task in failed.into_iter().take(MAX_FAILED_TASKS) {
        // After one that passes the others would most likely be waited for in vain, too.
        let output = match task.run_id.filter(|_| failure.passing.is_none()) {
            None => None,
            Some(task_run_id) => match client.get_run_output(task_run_id).await {
                Ok(output) => Some(output),
                Err(error) => {
                    // Not every kind of task has an output, and not every principal may read it.
                    failure.passing = error.is_retryable().then(|| error.to_string());
                    None
                }
            },
        };
        failure.told.push(FailedTask { task, output });
    }
    failure
}
