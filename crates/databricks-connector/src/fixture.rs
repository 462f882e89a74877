//! Real requests for unit tests.

use std::{fs, path::Path};

use connector_core::{Connection, CreateContext, TaskType};
use flyteidl2::connector::CreateTaskRequest;
use prost::Message;

/// The request of that name from `fixtures/requests`.
pub(crate) fn request(name: &str) -> CreateContext {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../../fixtures/requests/{name}.create.pb"));
    let wire = CreateTaskRequest::decode(fs::read(path).unwrap().as_slice()).unwrap();
    let template = wire.template.unwrap_or_default();
    CreateContext {
        task_type: TaskType::new(template.r#type.clone(), template.task_type_version),
        template,
        inputs: wire.inputs.unwrap_or_default(),
        output_prefix: wire.output_prefix,
        execution: wire.task_execution_metadata.unwrap_or_default(),
        connection: wire.connection.map(Connection::from).unwrap_or_default(),
        abandoned: 0,
        deadline: None,
    }
}
