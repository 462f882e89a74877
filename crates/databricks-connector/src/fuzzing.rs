//! What must hold of anything that comes from outside. The fuzz targets in `fuzz/` call this, and this crate's own tests
//! replay what they found.

use connector_core::{CreateContext, Phase, Resource};
use databricks_client::{
    Host,
    clusters::Cluster,
    jobs::{Run, RunOutput},
};
use flyteidl2::connector::CreateTaskRequest;
use prost::Message as _;

use crate::{
    config::run_defaults::RunDefaults,
    context::host_of,
    create::{
        submission::{self, Choices, Submission},
        tags::Cloud,
        workload::Entrypoint,
    },
    get::{
        links, phase,
        reason::{self, FailedTask},
    },
    run_meta::RunMeta,
    task::DatabricksTask,
};

/// Characters of the longest message, with some room for what is put around it.
const MAX_MESSAGE: usize = 4_200;

/// A request to create a task, up to the first packet: a plan, or an error.
pub fn create(bytes: &[u8]) {
    let Ok(wire) = CreateTaskRequest::decode(bytes) else { return };
    let cx = CreateContext::from(wire);
    let Ok(task) = DatabricksTask::parse(&cx) else { return };
    for entrypoint in [Entrypoint::Git, Entrypoint::Workspace] {
        let defaults = RunDefaults::default();
        let choices = Choices { entrypoint, tags: Some(Cloud::Unknown), defaults: &defaults };
        let Ok(plan) = submission::plan(&task, &cx, choices) else { continue };
        let script = plan.needs_script().then(|| "/Workspace/script.py".to_owned());
        let token = match plan.submission(script) {
            Submission::Submit(run) => run.idempotency_token().map(str::len),
            Submission::RunNow(run) => run.idempotency_token().map(str::len),
        };
        assert_eq!(token, Some(64), "every submission can be sent again");
    }
}

/// The resource meta of a later call.
pub fn resource_meta(bytes: &[u8]) {
    let Ok(meta) = serde_json::from_slice::<RunMeta>(bytes) else { return };
    let Ok(_host) = host_of(&meta) else { return };
    let again =
        serde_json::to_vec(&meta).and_then(|written| serde_json::from_slice::<RunMeta>(&written));
    assert!(again.is_ok(), "meta that was read can be written and read again");
    let Ok(again) = again else { return };
    assert_eq!(again.run_id, meta.run_id);
    assert_eq!(again.databricks_instance, meta.databricks_instance);
    assert!(again.auth_token.is_none(), "a token is never written");
}

/// A run, the output of one, or a cluster, as a workspace or anything before it might answer.
pub fn run_answer(bytes: &[u8]) {
    let output = serde_json::from_slice::<RunOutput>(bytes).ok();
    let cluster = serde_json::from_slice::<Cluster>(bytes).ok();
    let Ok(run) = serde_json::from_slice::<Run>(bytes) else { return };
    for user_failures in [phase::UserFailures::Retryable, phase::UserFailures::Permanent] {
        // There is no phase that must not be sent; what is left to show is that one comes at all.
        phase::run_progress(&run).phase(user_failures);
    }
    let mut failed: Vec<FailedTask<'_>> = reason::failed_tasks(&run)
        .into_iter()
        .map(|task| FailedTask { task, output: None })
        .collect();
    if let Some(first) = failed.first_mut() {
        first.output = output;
    }
    for message in
        [reason::of_failure(&run, &failed, 0, cluster.as_ref()), reason::of_waiting((&run).into())]
    {
        assert!(message.chars().count() <= MAX_MESSAGE, "messages are bounded");
        assert!(!message.contains('\u{1b}'), "terminals are not driven from afar");
    }
    if let (Ok(host), Ok(run_id)) = (Host::parse("dbc-1.cloud.databricks.com"), "7".parse()) {
        let told = links::add(Resource::new(Phase::Running), &host, run_id, &run);
        assert!(told.links.iter().all(|link| !link.name.is_empty()), "links merge by name");
    }
}

#[cfg(test)]
mod tests {
    /// Feeds every file of that folder to the target.
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
    fn requests_of_the_corpus_are_planned_or_refused() {
        replay("fuzz/corpus/create", super::create);
        replay("fixtures/requests", super::create);
    }

    #[test]
    fn resource_meta_of_the_corpus_is_read_or_refused() {
        replay("fuzz/corpus/resource_meta", super::resource_meta);
    }

    #[test]
    fn runs_of_the_corpus_have_a_phase_and_a_bounded_reason() {
        replay("fuzz/corpus/run_answer", super::run_answer);
    }
}
