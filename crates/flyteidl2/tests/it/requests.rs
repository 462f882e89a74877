//! Decodes the requests in `fixtures/requests`, encoded by the Python SDK and by Flyte's executor (Go).

use flyteidl2::connector::{CreateTaskRequest, DeleteTaskRequest, GetTaskRequest};
use flyteidl2::core::{Literal, literal, primitive, scalar, task_template};
use prost::Message;
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/requests")
}

fn decode<M: Message + Default>(name: &str) -> M {
    let bytes = std::fs::read(fixtures().join(name)).unwrap();
    M::decode(bytes.as_slice()).unwrap()
}

/// Checks that a round trip keeps every field. Decoding drops unknown fields, so an equal length means that all are known.
fn check_round_trip<M: Message + Default + PartialEq>(name: &str, bytes: &[u8]) {
    let message = M::decode(bytes).unwrap();
    let again = message.encode_to_vec();
    assert_eq!(again.len(), bytes.len(), "{name}: bytes lost");
    assert!(M::decode(again.as_slice()).unwrap() == message, "{name}: changed");
}

#[test]
fn captured_requests_survive_round_trip() {
    let mut seen = 0;
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        if name.ends_with(".create.pb") {
            check_round_trip::<CreateTaskRequest>(name, &bytes);
        } else if name.ends_with(".get.pb") {
            check_round_trip::<GetTaskRequest>(name, &bytes);
        } else if name.ends_with(".delete.pb") {
            check_round_trip::<DeleteTaskRequest>(name, &bytes);
        } else {
            continue;
        }
        seen += 1;
    }
    assert!(seen >= 10, "only {seen} requests in {}", fixtures().display());
}

#[test]
fn second_attempt_decodes_to_the_executors_values() {
    let request: CreateTaskRequest = decode("41_executor_second_attempt.create.pb");

    assert_eq!(
        request.output_prefix,
        "s3://flyte-data/es/flytesnacks/development/r7tmk8bjjctntlrgfdcn/a0/2"
    );

    let template = request.template.unwrap();
    assert_eq!(template.r#type, "databricks");
    let metadata = template.metadata.unwrap();
    assert_eq!(metadata.timeout.unwrap().seconds, 600);
    assert_eq!(metadata.retries.unwrap().retries, 2);
    let Some(task_template::Target::Container(container)) = template.target else {
        panic!("no container")
    };
    assert_eq!(container.args[0], "a0");
    assert_eq!(container.env[0].key, "MINE");

    let metadata = request.task_execution_metadata.unwrap();
    assert_eq!(metadata.labels["attempt"], "2");
    assert_eq!(metadata.environment_variables["ACTION_NAME"], "a0");
    let id = metadata.task_execution_id.unwrap();
    assert_eq!(id.retry_attempt, 1);
    let node = id.node_execution_id.unwrap();
    assert_eq!(node.node_id, "a0");
    assert_eq!(node.execution_id.unwrap().name, "r7tmk8bjjctntlrgfdcn");

    let input = &request.inputs.unwrap().literals[0];
    assert_eq!(input.name, "n");
    assert_eq!(integer(input.value.as_ref().unwrap()), Some(10));
}

fn integer(literal: &Literal) -> Option<i64> {
    let Some(literal::Value::Scalar(scalar)) = &literal.value else { return None };
    let Some(scalar::Value::Primitive(primitive)) = &scalar.value else { return None };
    match primitive.value {
        Some(primitive::Value::Integer(value)) => Some(value),
        _ => None,
    }
}

#[test]
fn connection_secrets_and_configs_are_not_swapped() {
    let connection =
        decode::<CreateTaskRequest>("21_connection_configs.create.pb").connection.unwrap();
    assert_eq!(connection.task_type, "databricks");
    assert_eq!(connection.secrets["databricks_token"], "dapi-DATABRICKS_TOKEN");
    assert_eq!(connection.configs["databricks_host"], "x");
}

#[test]
fn get_and_delete_contain_resource_meta_of_python_plugin() {
    let get: GetTaskRequest = decode("40_executor.get.pb");
    assert_eq!(get.resource_meta, br#"{"databricks_instance": "localhost:8443", "run_id": "1"}"#);
    assert_eq!(
        get.output_prefix,
        "s3://flyte-data/5w/flytesnacks/development/rnt7dn86j7gkdmtx8j92/a0/1"
    );

    let delete: DeleteTaskRequest = decode("40_executor.delete.pb");
    assert_eq!(
        delete.resource_meta,
        br#"{"databricks_instance": "localhost:8443", "run_id": "5"}"#
    );
    assert_eq!(delete.task_category.unwrap().name, "databricks");
}
