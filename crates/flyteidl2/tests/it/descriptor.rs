//! The descriptor set that the reflection service answers from.

use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};
use std::collections::BTreeSet;

fn files() -> Vec<FileDescriptorProto> {
    FileDescriptorSet::decode(flyteidl2::FILE_DESCRIPTOR_SET).unwrap().file
}

#[test]
fn it_holds_both_services_with_all_their_methods() {
    let mut methods = Vec::new();
    for file in files() {
        for service in &file.service {
            methods.extend(
                service.method.iter().map(|method| {
                    format!("{}.{}/{}", file.package(), service.name(), method.name())
                }),
            );
        }
    }
    assert_eq!(
        methods,
        [
            "flyteidl2.connector.AsyncConnectorService/CreateTask",
            "flyteidl2.connector.AsyncConnectorService/GetTask",
            "flyteidl2.connector.AsyncConnectorService/DeleteTask",
            "flyteidl2.connector.AsyncConnectorService/GetTaskMetrics",
            "flyteidl2.connector.AsyncConnectorService/GetTaskLogs",
            "flyteidl2.connector.ConnectorMetadataService/GetConnector",
            "flyteidl2.connector.ConnectorMetadataService/ListConnectors",
        ]
    );
}

#[test]
fn it_is_complete_and_each_file_comes_after_its_imports() {
    let mut known = BTreeSet::new();
    for file in files() {
        for import in &file.dependency {
            assert!(
                known.contains(import),
                "{} imports {import}, which is not before it",
                file.name()
            );
        }
        known.insert(file.name().to_owned());
    }
}

#[test]
fn it_holds_the_error_file_of_a_task_and_no_source_positions() {
    let files = files();
    let names: BTreeSet<_> =
        files.iter().flat_map(|file| file.message_type.iter().map(DescriptorProto::name)).collect();
    assert!(names.contains("ErrorDocument") && names.contains("ContainerError"));
    assert!(files.iter().all(|file| file.source_code_info.is_none()));
}
