//! Properties that hold for every input. The fuzz targets in `fuzz/` call these functions, and the tests here replay the
//! corpus.

use connector_core::{CreateContext, Phase, Resource};
use databricks_client::{
    Host,
    clusters::Cluster,
    jobs::{Run, RunOutput, RunTask},
};
use flyteidl2::connector::CreateTaskRequest;
use prost::Message as _;

use crate::{
    config::{Entrypoint, run_defaults::RunDefaults},
    context::host_of_run,
    create::{
        cluster_tags::Cloud,
        flyte_task::FlyteTask,
        submission::{self, Plan, SubmissionSettings},
    },
    get::{
        links,
        reason::{self, FailedRun, FailedTask},
    },
    phase::{self, UserFailures},
    run_meta::RunMeta,
    task::DatabricksTask,
};

/// Characters of the longest message, with a margin for its prefix and suffix.
const MAX_MESSAGE: usize = 4_200;

/// Plans the submission of a request. Every plan has an idempotency token.
pub fn create(bytes: &[u8]) {
    let Ok(wire) = CreateTaskRequest::decode(bytes) else { return };
    let cx = CreateContext::from(wire);
    let (Ok(task), Ok(flyte)) = (DatabricksTask::parse(&cx), FlyteTask::from_request(&cx)) else {
        return;
    };
    for entrypoint in [Entrypoint::Git, Entrypoint::Workspace] {
        let defaults = RunDefaults::default();
        let settings =
            SubmissionSettings { entrypoint, tags: Some(Cloud::Unknown), defaults: &defaults };
        let Ok(plan) = submission::plan(&task, &flyte, settings) else { continue };
        let script = || Some("/Workspace/script.py".to_owned());
        let token = match plan {
            Plan::RunNow(job) => job.idempotency_token().map(str::len),
            Plan::AsWritten(run) => run.idempotency_token().map(str::len),
            Plan::FlyteFunction(function) => {
                function.into_submission(script()).idempotency_token().map(str::len)
            }
        };
        assert_eq!(token, Some(64), "every submission has an idempotency token");
    }
}

/// Reads a resource meta. Meta that was read can be written and read again, without its token.
pub fn resource_meta(bytes: &[u8]) {
    let Ok(meta) = serde_json::from_slice::<RunMeta>(bytes) else { return };
    let Ok(_host) = host_of_run(&meta) else { return };
    let again =
        serde_json::to_vec(&meta).and_then(|written| serde_json::from_slice::<RunMeta>(&written));
    assert!(again.is_ok(), "meta that was read can be written and read again");
    let Ok(again) = again else { return };
    assert_eq!(again.run_id, meta.run_id);
    assert_eq!(again.databricks_instance, meta.databricks_instance);
    assert!(again.auth_token.is_none(), "a token is never written");
}

/// Reads a run, its output or a cluster. Every run has a phase and bounded messages.
pub fn run_answer(bytes: &[u8]) {
    let output = serde_json::from_slice::<RunOutput>(bytes).ok();
    let cluster = serde_json::from_slice::<Cluster>(bytes).ok();
    let Ok(run) = serde_json::from_slice::<Run>(bytes) else { return };
    for user_failures in [UserFailures::Retryable, UserFailures::Permanent] {
        // Any phase is valid: the call must only return.
        phase::of_progress(run.progress(), user_failures);
    }
    let tasks = reason::failed_tasks(&run).into_iter().take(reason::MAX_FAILED_TASKS);
    let failed = |task: &RunTask| FailedTask { task: task.clone(), output: None, started: None };
    let mut tasks: Vec<FailedTask> = tasks.map(failed).collect();
    if let Some(first) = tasks.first_mut() {
        first.output = output;
    }
    let failed = FailedRun { tasks, omitted: 0 };
    for message in
        [reason::of_failure(&run, &failed, cluster.as_ref()), reason::of_waiting_run(&run)]
    {
        assert!(message.chars().count() <= MAX_MESSAGE, "messages are bounded");
        assert!(!message.contains('\u{1b}'), "messages contain no escape sequences");
    }
    if let (Ok(host), Ok(run_id)) = (Host::parse("dbc-1.cloud.databricks.com"), "7".parse()) {
        let resource = links::add(Resource::new(Phase::Running), &host, run_id, &run);
        assert!(resource.links.iter().all(|link| !link.name.is_empty()), "links merge by name");
    }
}

#[cfg(test)]
mod tests {
    /// Passes every file of that folder to the target.
    fn replay(folder: &str, target: fn(&[u8])) {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
        let mut replayed = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            target(&std::fs::read(entry.unwrap().path()).unwrap());
            replayed += 1;
        }
        assert!(replayed > 10, "{replayed} files");
    }

    #[test]
    fn corpus_of_requests_is_planned_or_rejected() {
        replay("fuzz/corpus/create", super::create);
        replay("fixtures/requests", super::create);
    }

    #[test]
    fn corpus_of_resource_meta_is_read_or_rejected() {
        replay("fuzz/corpus/resource_meta", super::resource_meta);
    }

    #[test]
    fn corpus_of_runs_has_phases_and_bounded_reasons() {
        replay("fuzz/corpus/run_answer", super::run_answer);
    }
}
