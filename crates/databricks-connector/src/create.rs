//! Starts a run, and finds the runs that nobody waits for.

pub(crate) mod arguments;
mod compute;
mod container;
mod entrypoint;
mod flyte_function;
mod idempotency;
mod input_variables;
pub(crate) mod run_tag;
mod serverless;
pub(crate) mod submission;
pub(crate) mod tags;
pub(crate) mod workload;

use std::time::Instant;

use connector_core::{CreateContext, Error, ErrorKind};
use databricks_client::{Client, Credentials, Host, RequestClass};
use tracing::{info, warn};

use crate::{
    context::{Context, no_credentials},
    create::{run_tag::RunTag, submission::Submission},
    credentials::namespace_secret,
    delete::orphans,
    error,
    get::declared_outputs,
    run_meta::{CredentialRef, RunMeta},
    task::{DatabricksTask, execution::Execution},
    telemetry::{Orphan, call_log},
};

/// Submits the task and returns what identifies its run.
///
/// # Errors
///
/// Everything that the task or the server lacks, before any packet; what Databricks refuses; what does not pass within
/// the caller's time. The error says whether the run may have been started all the same.
pub(crate) async fn run(context: &Context, cx: &CreateContext) -> Result<RunMeta, Error> {
    // What the task lacks is told before what the server lacks, and both before any packet.
    let task = DatabricksTask::parse(cx)?;
    let plan = submission::plan(&task, cx, context.choices(&task))?;
    let outputs = if plan.is_runtime() { None } else { Some(declared_outputs::of_request(cx)?) };
    let (host, client, credential) = workspace_of(context, &task, cx).await?;
    let script =
        if plan.needs_script() { Some(entrypoint::in_workspace(&client).await?) } else { None };
    if let Some(template) = plan.inputs_for() {
        write_inputs(context, cx, template).await?;
    }
    let submitted = match plan.submission(script) {
        Submission::Submit(body) => client.submit_run(&body).await,
        Submission::RunNow(body) => client.run_now(&body).await,
    };
    let run_id = submitted.map_err(|error| {
        let may_have_effect = error.may_have_effect();
        error::from_client("submitting the run", error).with_may_have_started(may_have_effect)
    })?;
    let credentials = client.credentials();
    context.run_tracker.remember_credentials(&host, run_id, credentials, Instant::now());
    call_log::run(run_id);
    info!(%host, %run_id, credentials = credentials.name(), "run submitted");
    Ok(RunMeta::new(host.to_string(), run_id).with_credential(credential).with_outputs(outputs))
}

/// Writes the inputs where a pod template's arguments look for them. Nothing is submitted before.
async fn write_inputs(context: &Context, cx: &CreateContext, template: &str) -> Result<(), Error> {
    let storage = context.settings.task_storage.as_ref();
    task_storage::write_inputs(storage, &cx.output_prefix, &cx.inputs, cx.deadline).await.map_err(|error| {
        let message = format!("the inputs for the pod template `{template}` cannot be written: {error}");
        if error.is_transient() {
            Error::new(ErrorKind::Unavailable, message)
        } else {
            Error::failed_precondition(message).with_hint(
                "let the connector write under the task's output prefix, or run the task without a pod template",
            )
        }
    })
}

/// Cancels the run of a submission that was never answered, if there is one.
///
/// # Errors
///
/// Whatever keeps the runs of the workspace from being listed, or that one from being cancelled.
pub(crate) async fn abandoned(context: &Context, cx: &CreateContext) -> Result<(), Error> {
    let task = DatabricksTask::parse(cx)?;
    let (host, client, _) = workspace_of(context, &task, cx).await?;
    let Some(marker) = RunTag::of(cx, &Execution::of(cx)) else {
        warn!(%host, "a submission was never answered, and its run cannot be told from others: the request named no execution");
        return Ok(());
    };
    let count = |run_id| context.orphan_cancelled(&host, run_id, Orphan::Abandoned);
    let cancelled = orphans::cancel_runs_up_to(&client, &marker, count)
        .await
        .map_err(|error| error::from_client("looking for a run that nobody waits for", error))?;
    if cancelled == 0 {
        info!(%host, %marker, "no run was found for a submission that was never answered");
    }
    Ok(())
}

/// Cancels the runs of earlier attempts of the same action that are still alive. Nothing for a first attempt.
///
/// # Errors
///
/// Whatever keeps the runs of the workspace from being listed, or one of them from being cancelled.
pub(crate) async fn cancel_earlier_attempts(
    context: &Context,
    cx: &CreateContext,
) -> Result<(), Error> {
    let Some(earlier) = RunTag::of(cx, &Execution::of(cx)).and_then(|marker| marker.before())
    else {
        return Ok(());
    };
    let task = DatabricksTask::parse(cx)?;
    let (host, client, _) = workspace_of(context, &task, cx).await?;
    let count = |run_id| context.orphan_cancelled(&host, run_id, Orphan::EarlierAttempt);
    orphans::cancel_runs_up_to(&client, &earlier, count)
        .await
        .map_err(|error| error::from_client("looking for runs of earlier attempts", error))?;
    Ok(())
}

/// The workspace of a new task, the client for it, and its credential's name where later calls need it.
async fn workspace_of(
    context: &Context,
    task: &DatabricksTask,
    cx: &CreateContext,
) -> Result<(Host, Client, Option<CredentialRef>), Error> {
    let host = context.host_of(task)?;
    call_log::workspace(&host);
    let (credentials, credential) = credentials_for(context, &host, task, cx).await?;
    // What is read for a submission does not wait behind polls.
    let client =
        context.client(&host, credentials, cx.deadline).with_request_class(RequestClass::Write);
    Ok((host, client, credential))
}

/// The credential of a new task, and its name for later calls where it needs one: the task's own, else the Secret of its
/// namespace, else the connector's for that workspace, project and domain.
async fn credentials_for(
    context: &Context,
    host: &Host,
    task: &DatabricksTask,
    cx: &CreateContext,
) -> Result<(Credentials, Option<CredentialRef>), Error> {
    if let Some(credentials) = context.settings.task_credentials.of(&cx.connection) {
        return Ok((credentials, None));
    }
    let secrets = context.settings.namespace_secrets.as_ref();
    if let Some((credentials, secret)) = namespace_secret::of_task(secrets, task, cx).await? {
        return Ok((credentials, Some(CredentialRef::Secret(secret))));
    }
    let all = &context.settings.own;
    let Execution { project, domain, .. } = Execution::of(cx);
    match all.for_task(host, &project, &domain) {
        Some(own) => {
            let name = all.is_one_of_several(own).then(|| own.name.clone());
            Ok((own.credentials.clone(), name.map(CredentialRef::Workspace)))
        }
        None if all.knows(host) => Err(Error::new(
            ErrorKind::Forbidden,
            format!("the connector has no credential at {host} for project `{project}` and domain `{domain}`"),
        )
        .with_hint("let the task bring its own secret, or ask the operator to admit the project")),
        None => Err(no_credentials(host)),
    }
}
