//! The requests of one task: a real one, captured from a Flyte backend (FC §8.2), made this task's own.

use crate::cast::{Fortune, Role};
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

/// What every task has in common.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) emulator: Emulator,
    captured: CreateTaskRequest,
    /// Where the servers find the workspace, as `host:port`.
    workspace: String,
    /// Where the tasks' outputs are.
    outputs: PathBuf,
}

impl Stage {
    pub(crate) fn new(
        emulator: Emulator,
        workspace: String,
        outputs: PathBuf,
    ) -> Result<Self, prost::DecodeError> {
        Ok(Self { emulator, captured: CreateTaskRequest::decode(CAPTURED)?, workspace, outputs })
    }
}

/// One task.
#[derive(Debug)]
pub(crate) struct Job {
    stage: Arc<Stage>,
    number: u64,
}

/// The name that the run of an attempt has in the workspace.
pub(crate) fn run_name(number: u64, attempt: u32) -> String {
    format!("soak-{number}-{attempt}")
}

/// Whose run has this name.
pub(crate) fn owner(run_name: &str) -> Option<(u64, u32)> {
    let (number, attempt) = run_name.strip_prefix("soak-")?.split_once('-')?;
    Some((number.parse().ok()?, attempt.parse().ok()?))
}

impl Job {
    /// Tells the workspace what the runs of this task do, and leaves the files that its functions leave.
    pub(crate) fn prepare(stage: Arc<Stage>, number: u64, role: &Role) -> io::Result<Self> {
        let job = Self { stage, number };
        for attempt in 0..=role.retries {
            let fortune = role.fortune(attempt);
            if let Some(script) = fortune.script() {
                job.stage.emulator.set_script(&run_name(number, attempt), script);
            }
            let folder = job.folder().join(format!("a0/{}", attempt + 1));
            match fortune {
                Fortune::Success => leave(&folder, "outputs.pb", &[])?,
                Fortune::Recoverable => {
                    leave(&folder, "error.pb", &error_file(container_error::Kind::Recoverable))?;
                }
                Fortune::NonRecoverable => {
                    leave(&folder, "error.pb", &error_file(container_error::Kind::NonRecoverable))?;
                }
                Fortune::CodeFailed | Fortune::CloudFailed | Fortune::Silent => {}
            }
        }
        Ok(job)
    }

    fn folder(&self) -> PathBuf {
        self.stage.outputs.join(self.number.to_string())
    }

    fn prefix(&self, attempt: u32) -> String {
        format!("file://{}/a0/{}", self.folder().display(), attempt + 1)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // Only a temporary folder's contents, and none for a task without files.
        drop(fs::remove_dir_all(self.folder()));
    }
}

fn leave(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
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

impl Requests for Job {
    fn create(&self, attempt: u32) -> CreateTaskRequest {
        let mut request = self.stage.captured.clone();
        let old = std::mem::replace(&mut request.output_prefix, self.prefix(attempt));
        let prefix = request.output_prefix.clone();
        let (run, name) = (format!("soak{}", self.number), run_name(self.number, attempt));
        if let Some(template) = &mut request.template {
            if let Some(custom) = &mut template.custom {
                put(custom, "databricksInstance", &self.stage.workspace);
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
            connection: self.stage.captured.connection.clone(),
        }
    }

    fn delete(&self, _attempt: u32, resource_meta: Vec<u8>) -> DeleteTaskRequest {
        DeleteTaskRequest {
            resource_meta,
            task_category: Some(category()),
            connection: self.stage.captured.connection.clone(),
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
    fn the_owner_of_a_run_is_in_its_name() {
        assert_eq!(owner(&run_name(41, 2)), Some((41, 2)));
        for strange in ["soak-1", "soak-a-1", "nightly", ""] {
            assert_eq!(owner(strange), None, "{strange}");
        }
    }
}
