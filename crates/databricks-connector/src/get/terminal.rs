//! The resource of a run that has ended: reads its output files, results, errors and cluster.
//!
//! The decisions are in [`terminal_rules`]; this module does the I/O for them.

use std::time::{Duration, Instant};

use connector_core::{CallContext, Phase, Resource};
use databricks_client::{
    Client,
    clusters::Cluster,
    jobs::{MissingTasks, Outcome, Run},
};
use tracing::{debug, warn};

use super::{
    failure_reader::{FailureReader, MAX_LEVELS, MAX_READS},
    reason,
    terminal_rules::{self, Decision, ErrorReason, OutputFiles, RuleOptions},
};
use crate::{
    context::Context,
    declared_outputs::{
        DeclaredOutputs,
        read::{self, MissingOutputs},
    },
    phase,
    run_meta::RunMeta,
};

/// Bounds the reads that only add to a reason: the cluster of a failed run, and the log of a function.
const ADDITION_READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Added to the reason of a run that failed although the function wrote outputs.
const FAILED_AFTER_OUTPUTS: &str = "the function itself had written its outputs (outputs.pb); the failure came afterwards, for example when its process exited";

/// A run that has ended, with the context for further reads.
pub(super) struct TerminalRun<'a> {
    pub(super) context: &'a Context,
    pub(super) client: &'a Client,
    pub(super) meta: &'a RunMeta,
    pub(super) run: &'a Run,
}

impl TerminalRun<'_> {
    /// Returns the resource of a run with this outcome.
    pub(super) async fn resource(&self, cx: &CallContext, outcome: Outcome) -> Resource {
        if let Some(MissingTasks::Unreadable { error, is_transient: true }) =
            &self.run.missing_tasks
            && self.may_retry()
        {
            return retry_at_next_poll(error);
        }
        match &self.meta.outputs {
            None => self.of_flyte_function(cx, outcome).await,
            Some(_) if outcome != Outcome::Succeeded => {
                let user_failures = self.context.settings.user_failures;
                self.failure(phase::of_outcome(outcome, user_failures)).await
            }
            Some(declared) => self.with_declared_outputs(declared).await,
        }
    }

    /// Returns the resource of a Flyte function, by the files that Flyte's runtime wrote.
    async fn of_flyte_function(&self, cx: &CallContext, outcome: Outcome) -> Resource {
        let settings = &self.context.settings;
        let (files, outputs_size) = self.read_files(cx, outcome).await;
        // Outputs of a failed run only add to its reason, so they are not worth another poll.
        let is_transient =
            files.error.as_ref().is_err_and(task_storage::StorageError::is_transient)
                || (outcome == Outcome::Succeeded
                    && files
                        .outputs_exist
                        .as_ref()
                        .is_err_and(task_storage::StorageError::is_transient));
        let options = RuleOptions {
            user_failures: settings.user_failures,
            require_error_file: settings.require_error_file,
            may_retry: is_transient && self.may_retry(),
        };
        match terminal_rules::decide(outcome, files, options) {
            Decision::RetryAtNextPoll(message) => retry_at_next_poll(&message),
            Decision::UnverifiedSuccess(message) => {
                if let Some(bucket) =
                    settings.telemetry.metrics.unverified_success(cx.output_prefix.as_str())
                {
                    warn!(
                        bucket,
                        error = message,
                        "could not check a success for an error file; later ones in this bucket are only counted"
                    );
                }
                Resource::new(Phase::Succeeded)
            }
            Decision::Finish { phase: Phase::Succeeded, .. } => {
                Resource::new(Phase::Succeeded).with_message(self.outputs_warning(outputs_size))
            }
            Decision::Finish { phase, reason: Some(reason) } => {
                let log = self.function_log(&reason).await;
                Resource::new(phase).with_message(reason::of_error_file(&reason, log.as_deref()))
            }
            Decision::Finish { phase, reason: None } => self.failure(phase).await,
            Decision::FailAfterOutputs(phase) => {
                let failure = self.failure(phase).await;
                let message = match failure.phase {
                    Phase::Running => failure.message,
                    _ => format!("{}\n{FAILED_AFTER_OUTPUTS}", failure.message),
                };
                Resource { message, ..failure }
            }
        }
    }

    /// Returns a warning about outputs that Flyte will not download, or no text.
    fn outputs_warning(&self, size: Option<u64>) -> String {
        let max = self.context.settings.max_output_bytes as u64;
        let Some(size) = size.filter(|size| *size > max) else { return String::new() };
        let warning = format!(
            "outputs.pb has {size} bytes; Flyte downloads at most {max} by default, so later tasks may not be able to read it"
        );
        warn!(host = %self.client.host(), run_id = %self.meta.run_id, size, max, "a function wrote larger outputs than Flyte downloads");
        warning
    }

    /// Reads the files that matter for this outcome, and the size of the outputs. Without an output prefix the run's own
    /// result decides.
    async fn read_files(&self, cx: &CallContext, outcome: Outcome) -> (OutputFiles, Option<u64>) {
        let prefix = cx.output_prefix.as_str();
        let storage = self.context.settings.task_storage.as_ref();
        match outcome {
            Outcome::Succeeded | Outcome::UserFailure if !prefix.is_empty() => {
                let error = task_storage::read_error(storage, prefix, cx.deadline).await;
                let size = match error {
                    Ok(None) => task_storage::outputs_size(storage, prefix, cx.deadline).await,
                    Ok(Some(_)) | Err(_) => Ok(None),
                };
                let outputs_size = size.as_ref().ok().copied().flatten();
                let outputs_exist = size.map(|size| size.is_some());
                (OutputFiles { error, outputs_exist }, outputs_size)
            }
            _ => {
                let outputs_exist = Ok(outcome == Outcome::Succeeded);
                (OutputFiles { error: Ok(None), outputs_exist }, None)
            }
        }
    }

    /// Returns the resource of a success whose declared outputs come from the run's result.
    async fn with_declared_outputs(&self, declared: &DeclaredOutputs) -> Resource {
        let output_task = self.meta.output_task.as_deref();
        let max = self.context.settings.max_output_bytes;
        let reason = match read::success(self.client, self.run, declared, output_task, max).await {
            Ok(resource) => return resource,
            Err(MissingOutputs::Unreadable(error)) if error.is_retryable() && self.may_retry() => {
                return retry_at_next_poll(&error.to_string());
            }
            Err(MissingOutputs::Unreadable(error)) => format!("its output cannot be read: {error}"),
            Err(MissingOutputs::Invalid(reason)) => {
                let names: Vec<&str> = declared.keys().map(String::as_str).collect();
                format!("the declared output `{}` cannot be filled: {reason}", names.join("`, `"))
            }
        };
        Resource::new(Phase::Failed).with_message(format!("the run succeeded, but {reason}"))
    }

    /// Returns the resource of a failure, with the errors of its tasks.
    async fn failure(&self, phase: Phase) -> Resource {
        let mut reader =
            FailureReader { client: self.client, reads_left: MAX_READS, transient: None };
        let failure = reader.read(self.run, MAX_LEVELS).await;
        if let Some(error) = reader.transient {
            if self.may_retry() {
                return retry_at_next_poll(&format!("its error cannot be read now: {error}"));
            }
            warn!(error, "could not read the reason of a failed run");
        }
        let cluster = self.cluster(failure.cluster_id()).await;
        let message = reason::of_failure(self.run, &failure, cluster.as_ref());
        Resource::new(phase).with_message(message)
    }

    /// Reads the log of the function, which has the trace of its exception, if that succeeds soon.
    async fn function_log(&self, reason: &ErrorReason) -> Option<String> {
        let attempts = self.run.latest_attempts();
        let [task] = attempts.as_slice() else { return None };
        let task_run_id = task.run_id.filter(|_| !reason.code.is_empty())?;
        let client = self.client.clone().with_timeout(ADDITION_READ_TIMEOUT);
        match client.get_run_output(task_run_id).await {
            Ok(output) => output.logs,
            Err(error) => {
                debug!(host = %client.host(), run_id = %self.meta.run_id, %error, "could not read the log of a failed function");
                None
            }
        }
    }

    /// Reads the cluster of a failed run, if that succeeds soon. It only adds to the run's own reason.
    async fn cluster(&self, cluster_id: Option<&str>) -> Option<Cluster> {
        let client = self.client.clone().with_timeout(ADDITION_READ_TIMEOUT);
        match client.get_cluster(cluster_id?).await {
            Ok(cluster) => Some(cluster),
            Err(error) => {
                debug!(host = %client.host(), run_id = %self.meta.run_id, %error, "could not read the cluster of a failed run");
                None
            }
        }
    }

    fn may_retry(&self) -> bool {
        let key = (self.client.host().clone(), self.meta.run_id);
        self.context.run_tracker.may_retry_reason(&key, Instant::now())
    }
}

fn retry_at_next_poll(error: &str) -> Resource {
    Resource::new(Phase::Running)
        .with_message(format!("the run has ended; its outcome is being read: {error}"))
}
