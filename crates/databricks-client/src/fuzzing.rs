//! Invariants for arbitrary input. Called by the fuzz targets in `fuzz/`, and by tests that replay their corpora.

use crate::{
    Host, HostPolicy,
    api::json::{self, Bounds},
    error::ErrorBody,
    http::request::Subject,
    jobs::{Run, RunTask, RunsPage},
};

/// Checks a host. An accepted text parses to the same host again, and the default policy allows only Databricks names
/// on port 443.
pub fn host(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(host) = Host::parse(text) else { return };
    assert_eq!(
        Host::parse(host.as_str()).as_ref(),
        Ok(&host),
        "the displayed host parses to the same host"
    );
    let name = host.name();
    assert!(!name.contains(['@', '/', '\\', '?', '#', '%']) && name.is_ascii(), "{name}");
    assert_eq!(name, name.to_ascii_lowercase(), "names are lower case");
    if HostPolicy::databricks_domains().check(&host).is_ok() {
        assert!(host.is_databricks_domain() && host.port() == 443 && !host.is_plain(), "{host}");
        let owned = [
            "databricks.com",
            "databricks.us",
            "azuredatabricks.net",
            "databricks.azure.us",
            "databricks.azure.cn",
        ];
        assert!(owned.iter().any(|suffix| name.ends_with(&format!(".{suffix}"))), "{name}");
    }
}

/// Checks an error body.
pub fn error_answer(bytes: &[u8]) {
    let body = ErrorBody::parse(bytes);
    let _results = (
        body.is_transient(),
        body.is_run_not_found(Subject::OnlyRun),
        body.is_unknown_api_version(),
    );
}

/// Bounds that an input of a few kilobytes exceeds.
const BOUNDS: Bounds = Bounds { tasks: 50, elements: 200, text: 2_000 };

/// Checks that a parsed run is within the bounds, and that its state does not depend on its tasks.
pub fn run_elements(bytes: &[u8]) {
    let read = |bounds| json::read_object::<Run>(bytes.to_vec().into(), bounds).ok();
    let Some((run, left)) = read(BOUNDS) else { return };
    check_run(&run);
    assert!(left.tasks <= BOUNDS.tasks && left.elements <= BOUNDS.elements);
    let Some((whole, _)) = read(Bounds::RUN) else { return };
    assert_eq!(run.has_ended(), whole.has_ended(), "the state is kept");
    let _progress = (run.progress(), whole.progress());
}

/// Checks that a parsed page of runs is within the bounds.
pub fn list_answer(bytes: &[u8]) {
    let read = json::read_object::<RunsPage>(bytes.to_vec().into(), BOUNDS);
    let Ok((page, _)) = read else { return };
    let tasks = page.runs.iter().map(|run| 1 + run.tasks.len() + run.iterations.len());
    assert!(tasks.sum::<usize>() <= BOUNDS.tasks);
    page.runs.iter().for_each(check_run);
}

fn check_run(run: &Run) {
    assert!(run.tasks.len() + run.iterations.len() <= BOUNDS.tasks);
    let text =
        |task: &RunTask| task.task_key.len() + task.description.as_ref().map_or(0, String::len);
    assert!(run.tasks.iter().map(text).sum::<usize>() <= BOUNDS.text);
    let edges = run.tasks.iter().map(|task| task.depends_on.len() + task.iteration_errors.len());
    assert!(edges.sum::<usize>() <= BOUNDS.elements);
    assert!(run.latest_attempts().len() <= run.tasks.len());
}

#[cfg(test)]
mod tests {
    /// Calls the target with each file of a corpus.
    fn replay(corpus: &str, target: fn(&[u8])) {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(corpus);
        let mut replayed = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            target(&std::fs::read(entry.unwrap().path()).unwrap());
            replayed += 1;
        }
        assert!(replayed > 10, "{replayed} files");
    }

    #[test]
    fn hosts_of_the_corpus_keep_the_invariants() {
        replay("host", super::host);
    }

    #[test]
    fn runs_of_the_corpus_are_bounded() {
        replay("run_elements", super::run_elements);
    }

    #[test]
    fn pages_of_the_corpus_are_bounded() {
        replay("list_answer", super::list_answer);
    }

    #[test]
    fn error_bodies_of_the_corpus_are_parsed() {
        replay("error_answer", super::error_answer);
    }
}
