//! Starts a run, and finds the runs that nobody waits for.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use connector_core::{CreateContext, Error};
use databricks_client::{Client, Host, Lane};
use tracing::{info, warn};

use crate::{
    DatabricksConnector,
    connector::no_credentials,
    credentials, entrypoint, error,
    execution::Execution,
    marker::Marker,
    outputs,
    run_meta::RunMeta,
    submit::{self, Submission},
    sweep,
    task::DatabricksTask,
};

/// How long the look for runs of earlier attempts may hold the answer up, once the run is submitted.
const SWEEP_PATIENCE: Duration = Duration::from_secs(3);

/// Submits the task and returns what identifies its run.
///
/// # Errors
///
/// Everything that the task or the server lacks, before any packet; what Databricks refuses; what does not pass within
/// the caller's time. The error says whether the run may have been started all the same.
pub(crate) async fn run(
    connector: &DatabricksConnector,
    cx: &CreateContext,
) -> Result<RunMeta, Error> {
    // What the task lacks is told before what the server lacks, and both before any packet.
    let task = DatabricksTask::parse(cx)?;
    let plan = submit::plan(&task, cx, connector.choices(&task))?;
    let outputs = if plan.is_runtime() { None } else { Some(outputs::declared(cx)?) };
    let (host, client) = workspace_of(connector, &task, cx)?;
    let script =
        if plan.needs_script() { Some(entrypoint::in_workspace(&client).await?) } else { None };
    let submit = async {
        match plan.submission(script) {
            Submission::Submit(body) => client.submit_run(&body).await,
            Submission::RunNow(body) => client.run_now(&body).await,
        }
    };
    let submitted = with_favour(submit, earlier_attempts(cx, &client)).await;
    let run_id = submitted.map_err(|error| {
        let may_have_effect = error.may_have_effect();
        error::from_client("submitting the run", error).with_possible_effect(may_have_effect)
    })?;
    let credentials = client.credentials();
    connector.watch.remember_credentials(&host, run_id, credentials, Instant::now());
    info!(%host, %run_id, credentials = credentials.name(), "run submitted");
    Ok(RunMeta::new(host.to_string(), run_id).with_outputs(outputs))
}

/// Cancels the run of a submission that was never answered, if there is one.
///
/// # Errors
///
/// Whatever keeps the runs of the workspace from being listed, or that one from being cancelled.
pub(crate) async fn abandoned(
    connector: &DatabricksConnector,
    cx: &CreateContext,
) -> Result<(), Error> {
    let task = DatabricksTask::parse(cx)?;
    let (host, client) = workspace_of(connector, &task, cx)?;
    let Some(marker) = Marker::of(cx, &Execution::of(cx)) else {
        warn!(%host, "a submission was never answered, and its run cannot be told from others: the request named no execution");
        return Ok(());
    };
    let cancelled = sweep::runs_up_to(&client, &marker)
        .await
        .map_err(|error| error::from_client("looking for a run that nobody waits for", error))?;
    if cancelled == 0 {
        info!(%host, %marker, "no run was found for a submission that was never answered");
    }
    Ok(())
}

/// The workspace of a new task, and the client for it.
fn workspace_of(
    connector: &DatabricksConnector,
    task: &DatabricksTask,
    cx: &CreateContext,
) -> Result<(Host, Client), Error> {
    let host = connector.host_of(task)?;
    let credentials = credentials::of_task(&cx.connection)
        .or_else(|| connector.own_credentials(&host))
        .ok_or_else(|| no_credentials(&host))?;
    // What is read for a submission does not wait behind polls.
    let client = connector.client(&host, credentials, cx.deadline).in_lane(Lane::Writes);
    Ok((host, client))
}

/// Cancels runs of earlier attempts that are still alive: Flyte gave them up, or never knew of them. Only a favour, so
/// it fails no create. It shares the client of the submission, and so does not wait behind polls: a run that is not
/// found now may live on for ever.
async fn earlier_attempts(cx: &CreateContext, client: &Client) {
    let Some(earlier) = Marker::of(cx, &Execution::of(cx)).and_then(|marker| marker.before())
    else {
        return;
    };
    if let Err(error) = sweep::runs_up_to(client, &earlier).await {
        let error = error::with_causes(&error);
        warn!(host = %client.host(), %earlier, error, "runs of earlier attempts could not be looked for");
    }
}

/// Does both at once. The favour has the time of the work, and a little more: what keeps the one waiting, such as a
/// pause that the workspace asks for, keeps the other.
async fn with_favour<T>(work: impl Future<Output = T>, favour: impl Future<Output = ()>) -> T {
    let (mut work, mut favour) = (pin!(work), pin!(favour));
    let done = tokio::select! {
        done = &mut work => done,
        () = &mut favour => return work.await,
    };
    if tokio::time::timeout(SWEEP_PATIENCE, favour).await.is_err() {
        warn!("looking for runs of earlier attempts took too long, and was given up");
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn seconds(number: u64) -> u64 {
        tokio::time::sleep(Duration::from_secs(number)).await;
        number
    }

    #[tokio::test(start_paused = true)]
    async fn a_favour_has_the_time_of_the_work_and_a_little_more() {
        let took = async |work: u64, favour: u64| {
            let started = tokio::time::Instant::now();
            let favour = async { assert_eq!(seconds(favour).await, favour) };
            assert_eq!(with_favour(seconds(work), favour).await, work);
            started.elapsed().as_secs()
        };
        assert_eq!(took(7, 1).await, 7);
        assert_eq!(took(7, 8).await, 8);
        assert_eq!(took(7, 100).await, 7 + SWEEP_PATIENCE.as_secs());
    }
}
