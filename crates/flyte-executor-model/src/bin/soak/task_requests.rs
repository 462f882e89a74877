//! The requests of a task, made from a request captured from a Flyte backend (flyte-contract.md#observed-backend).

use crate::scenario::{RunOutcome, TaskScenario};
use databricks_emulator::Emulator;
use flyte_executor_model::Requests;
use flyteidl2::connector::{CreateTaskRequest, DeleteTaskRequest, GetTaskRequest, TaskCategory};
use flyteidl2::core::{ContainerError, ErrorDocument, container_error};
use prost::Message as _;
use prost_types::{Struct, Value, value::Kind};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CAPTURED: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../fixtures/requests/40_executor_first_attempt.create.pb"
));

/// What all tasks share.
#[derive(Debug)]
pub(crate) struct SharedFixtures {
    pub(crate) emulator: Emulator,
    captured: CreateTaskRequest,
    /// The workspace address for the servers, as `host:port`.
    workspace: String,
    /// The folder for the outputs of all tasks.
    outputs: PathBuf,
}

impl SharedFixtures {
    pub(crate) fn new(
        emulator: Emulator,
        workspace: String,
        outputs: PathBuf,
    ) -> Result<Self, prost::DecodeError> {
        Ok(Self { emulator, captured: CreateTaskRequest::decode(CAPTURED)?, workspace, outputs })
    }
}

/// The requests of one task.
#[derive(Debug)]
pub(crate) struct TaskRequests {
    fixtures: Arc<SharedFixtures>,
    number: u64,
}

/// Returns the name of the run of an attempt.
pub(crate) fn run_name(number: u64, attempt: u32) -> String {
    format!("soak-{number}-{attempt}")
}

/// Returns the task and attempt of a run.
pub(crate) fn task_of(run_name: &str) -> Option<(u64, u32)> {
    let (number, attempt) = run_name.strip_prefix("soak-")?.split_once('-')?;
    Some((number.parse().ok()?, attempt.parse().ok()?))
}

impl TaskRequests {
    /// Sets the scripts of the task's runs, and writes the files of its functions.
    pub(crate) fn prepare(
        fixtures: Arc<SharedFixtures>,
        number: u64,
        scenario: &TaskScenario,
    ) -> io::Result<Self> {
        let requests = Self { fixtures, number };
        for attempt in 0..=scenario.retries {
            let outcome = scenario.outcome(attempt);
            if let Some(script) = outcome.script() {
                requests.fixtures.emulator.set_script(&run_name(number, attempt), script);
            }
            let folder = requests.folder().join(format!("a0/{}", attempt + 1));
            match outcome {
                RunOutcome::Success => write_file(&folder, "outputs.pb", &[])?,
                RunOutcome::Recoverable => {
                    write_file(
                        &folder,
                        "error.pb",
                        &error_file(container_error::Kind::Recoverable),
                    )?;
                }
                RunOutcome::NonRecoverable => {
                    write_file(
                        &folder,
                        "error.pb",
                        &error_file(container_error::Kind::NonRecoverable),
                    )?;
                }
                RunOutcome::CodeFailed | RunOutcome::CloudFailed | RunOutcome::NoFiles => {}
            }
        }
        Ok(requests)
    }

    fn folder(&self) -> PathBuf {
        self.fixtures.outputs.join(self.number.to_string())
    }

    fn prefix(&self, attempt: u32) -> String {
        format!("file://{}/a0/{}", self.folder().display(), attempt + 1)
    }
}

impl Drop for TaskRequests {
    fn drop(&mut self) {
        // The folder is temporary, and missing for a task without files.
        drop(fs::remove_dir_all(self.folder()));
    }
}

fn write_file(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join(name), content)
}

fn error_file(kind: container_error::Kind) -> Vec<u8> {
    let error = ContainerError {
        code: "USER".to_owned(),
        message: "ValueError: no such column".to_owned(),
        kind: kind.into(),
        origin: 0,
    };
    ErrorDocument { error: Some(error) }.encode_to_vec()
}

impl Requests for TaskRequests {
    fn create(&self, attempt: u32) -> CreateTaskRequest {
        let mut request = self.fixtures.captured.clone();
        let old = std::mem::replace(&mut request.output_prefix, self.prefix(attempt));
        let prefix = request.output_prefix.clone();
        let (run, name) = (format!("soak{}", self.number), run_name(self.number, attempt));
        if let Some(template) = &mut request.template {
            if let Some(custom) = &mut template.custom {
                put(custom, "databricksInstance", &self.fixtures.workspace);
                if let Some(Kind::StructValue(conf)) =
                    custom.fields.get_mut("databricksConf").and_then(|conf| conf.kind.as_mut())
                {
                    put(conf, "run_name", &name);
                }
            }
            if let Some(flyteidl2::core::task_template::Target::Container(container)) =
                &mut template.target
            {
                for arg in &mut container.args {
                    *arg = arg.replace(&old, &prefix);
                }
            }
        }
        if let Some(metadata) = &mut request.task_execution_metadata {
            if let Some(id) = &mut metadata.task_execution_id {
                id.retry_attempt = attempt;
                if let Some(execution) =
                    id.node_execution_id.as_mut().and_then(|node| node.execution_id.as_mut())
                {
                    execution.name.clone_from(&run);
                }
            }
            metadata.labels.insert("attempt".to_owned(), (attempt + 1).to_string());
            for key in ["run", "flyte.org/run"] {
                metadata.labels.insert(key.to_owned(), run.clone());
            }
            metadata.environment_variables.insert("RUN_NAME".to_owned(), run);
        }
        request
    }

    fn get(&self, attempt: u32, resource_meta: Vec<u8>) -> GetTaskRequest {
        GetTaskRequest {
            resource_meta,
            task_category: Some(category()),
            output_prefix: self.prefix(attempt),
            connection: self.fixtures.captured.connection.clone(),
        }
    }

    fn delete(&self, _attempt: u32, resource_meta: Vec<u8>) -> DeleteTaskRequest {
        DeleteTaskRequest {
            resource_meta,
            task_category: Some(category()),
            connection: self.fixtures.captured.connection.clone(),
        }
    }
}

fn category() -> TaskCategory {
    TaskCategory { name: "databricks".to_owned(), version: 0 }
}

fn put(fields: &mut Struct, key: &str, text: &str) {
    fields.fields.insert(key.to_owned(), Value { kind: Some(Kind::StringValue(text.to_owned())) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_name_identifies_task_and_attempt() {
        assert_eq!(task_of(&run_name(41, 2)), Some((41, 2)));
        for other in ["soak-1", "soak-a-1", "nightly", ""] {
            assert_eq!(task_of(other), None, "{other}");
        }
    }
}
