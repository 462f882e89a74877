use connector_core::{ErrorKind, LogsRequest, MetricsRequest, Registry, RegistryError, TaskType};

use crate::stub::{Endless, call};

fn types(names: &[(&str, i32)]) -> Vec<TaskType> {
    names.iter().map(|(name, version)| TaskType::new(*name, *version)).collect()
}

#[test]
fn connector_is_found_by_name_and_version() {
    let registry = Registry::builder()
        .register(Endless::<0>(types(&[("a", 0), ("a", 1)])))
        .register(Endless::<1>(types(&[("b", 0)])))
        .build()
        .unwrap();
    let found = |name: &str, version| {
        registry.find(&TaskType::new(name, version)).map(connector_core::ConnectorHandle::name)
    };
    assert_eq!(found("a", 0), Some("first"));
    assert_eq!(found("a", 1), Some("first"));
    assert_eq!(found("b", 0), Some("second"));
    assert_eq!(found("b", 1), None);
    assert_eq!(found("", 0), None);
    assert_eq!(
        registry.by_name("second").map(connector_core::ConnectorHandle::task_types),
        Some(types(&[("b", 0)]))
    );
    assert!(registry.by_name("third").is_none());
    assert_eq!(registry.connectors().len(), 2);
}

#[test]
fn duplicate_task_types_and_names_are_rejected() {
    let error = Registry::builder()
        .register(Endless::<0>(types(&[("a", 0)])))
        .register(Endless::<1>(types(&[("a", 0)])))
        .build()
        .unwrap_err();
    assert_eq!(error.to_string(), "task type a (version 0) is served by both `first` and `second`");
    let error = Registry::builder()
        .register(Endless::<0>(types(&[("a", 0)])))
        .register(Endless::<0>(types(&[("b", 0)])))
        .build()
        .unwrap_err();
    assert_eq!(error, RegistryError::DuplicateName { name: "first" });
}

#[test]
fn connector_without_task_types_is_rejected() {
    let error = Registry::builder().register(Endless::<0>(Vec::new())).build().unwrap_err();
    assert_eq!(error, RegistryError::NoTaskType { name: "first" });
}

#[tokio::test]
async fn logs_and_metrics_are_unimplemented_by_default() {
    let registry = Registry::builder().register(Endless::<0>(types(&[("a", 0)]))).build().unwrap();
    let connector = registry.by_name("first").unwrap();
    let meta = br#"{"host":"h","run_id":1}"#;
    let logs = connector.get_logs(call(), meta, LogsRequest::default()).await.unwrap_err();
    let metrics = connector.get_metrics(call(), meta, MetricsRequest::default()).await.unwrap_err();
    assert_eq!((logs.kind(), metrics.kind()), (ErrorKind::Unimplemented, ErrorKind::Unimplemented));
}
