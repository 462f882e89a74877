//! Creates the run of a task.
//!
//! A request becomes a [`submission::Plan`] before anything is sent: [`flyte_task`] reads Flyte's
//! part of the request, `crate::task` the user's part. The idempotency token comes from
//! `connector_core::attempt`. Cancelling orphans belongs in `crate::delete::orphans`.

mod arguments;
pub(crate) mod cluster_tags;
mod compute;
mod container;
mod entrypoint;
mod flyte_function;
pub(crate) mod flyte_task;
mod pod_template_inputs;
mod requirements;
pub(crate) mod run_tag;
pub(crate) mod submission;
mod time_limits;
mod workload;

use std::time::Instant;

use connector_core::{CreateContext, Error};
use databricks_client::{Client, Host};
use tracing::{info, warn};

use self::{
    cluster_tags::Cloud,
    flyte_task::FlyteTask,
    submission::{Plan, SubmissionSettings},
};
use crate::{
    context::Context, declared_outputs, error, run_meta::RunMeta, task::DatabricksTask,
    telemetry::call_log,
};

/// Submits the task and returns the meta of its run.
///
/// # Errors
///
/// Before any request: an invalid task, or missing configuration. Afterwards: a rejection by
/// Databricks, or a failure that lasts until the caller's deadline. The error states whether the
/// run may have started.
pub(crate) async fn run(context: &Context, cx: &CreateContext) -> Result<RunMeta, Error> {
    // Errors of the task come before those of the configuration, and both before any request.
    let task = DatabricksTask::parse(cx)?;
    let flyte = FlyteTask::from_request(cx)?;
    let plan = submission::plan(&task, &flyte, settings_for(context, &task))?;
    let outputs = match plan {
        Plan::FlyteFunction(_) => None,
        Plan::RunNow(_) => Some(declared_outputs::from_request(cx)?),
        Plan::AsWritten(ref run) => {
            let declared = declared_outputs::from_request(cx)?;
            let tasks = run.body().get("tasks");
            declared_outputs::check_tasks(&declared, tasks, task.output_task.as_deref())?;
            Some(declared)
        }
    };
    let output_task =
        task.output_task.clone().filter(|_| outputs.as_ref().is_some_and(|map| !map.is_empty()));
    let is_saved_job = matches!(plan, Plan::RunNow(_));
    let (client, credential) = context.client_for_task(cx, &task, &flyte.attempt).await?;
    let late_client = waiting_for_late_response(&client, cx);
    let submitted = match plan {
        Plan::RunNow(job) => late_client.run_now(&job).await,
        Plan::AsWritten(run) => late_client.submit_run(&run).await,
        Plan::FlyteFunction(function) => {
            let script = if function.needs_script() {
                Some(entrypoint::upload(&client).await?)
            } else {
                None
            };
            if let Some(pod_template) = function.pod_template_with_inputs() {
                pod_template_inputs::write(context, cx, pod_template).await?;
            }
            late_client.submit_run(&function.into_submission(script)).await
        }
    };
    let run_id = submitted.map_err(submission_error)?;
    let (host, credentials) = (client.host(), client.credentials());
    let key = (host.clone(), run_id);
    context.run_tracker.remember(&key, credentials.clone(), Instant::now());
    call_log::run(run_id);
    info!(credentials = credentials.name(), "run submitted");
    if let Some(note) = flyte.time_limits.not_enforced(is_saved_job) {
        warn!(note, "a time limit of the task is not enforced");
        context.run_tracker.set_first_message(&key, note, Instant::now());
    }
    Ok(RunMeta::new(host, run_id)
        .with_credential(credential)
        .with_outputs(outputs)
        .with_output_task(output_task))
}

/// Returns a client that waits for the response to a submission after the caller's deadline, so that the run's id is known
/// to a repeated create and to the cancellation of an orphan.
fn waiting_for_late_response(client: &Client, cx: &CreateContext) -> Client {
    let Some(until) = cx.response_deadline else { return client.clone() };
    let pending_error = cx.pending_error.clone();
    client.clone().with_late_response(until, move |error| {
        pending_error.set(submission_error(error));
    })
}

fn submission_error(error: databricks_client::Error) -> Error {
    let may_have_effect = error.may_have_effect();
    error::from_client("submitting the run", error).with_may_have_started(may_have_effect)
}

/// Returns the operator's settings for a task. The cloud affects only tags, so it may come from a
/// host that is not allowed.
fn settings_for<'a>(context: &'a Context, task: &DatabricksTask) -> SubmissionSettings<'a> {
    let settings = &context.settings;
    let host = match &task.instance {
        Some(instance) => Host::parse(instance).ok(),
        None => settings.default_host.clone(),
    };
    let cloud = host.as_ref().map_or(Cloud::Unknown, Cloud::from_host);
    SubmissionSettings {
        entrypoint: settings.entrypoint,
        tags: settings.cluster_tags.then_some(cloud),
        defaults: &settings.run_defaults,
    }
}
