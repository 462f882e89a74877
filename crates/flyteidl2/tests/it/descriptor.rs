//! The descriptor set of the reflection service.

use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};
use std::collections::BTreeSet;

fn files() -> Vec<FileDescriptorProto> {
    FileDescriptorSet::decode(flyteidl2::FILE_DESCRIPTOR_SET).unwrap().file
}

#[test]
fn descriptor_set_contains_both_services_with_all_methods() {
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
fn descriptor_set_is_complete_and_in_dependency_order() {
    let mut known = BTreeSet::new();
    for file in files() {
        for import in &file.dependency {
            assert!(
                known.contains(import),
                "{} imports {import}, which does not precede it",
                file.name()
            );
        }
        known.insert(file.name().to_owned());
    }
}

#[test]
fn descriptor_set_contains_error_document_and_no_source_info() {
    let files = files();
    let names: BTreeSet<_> =
        files.iter().flat_map(|file| file.message_type.iter().map(DescriptorProto::name)).collect();
    assert!(names.contains("ErrorDocument") && names.contains("ContainerError"));
    assert!(files.iter().all(|file| file.source_code_info.is_none()));
}
