use connector_core::{ErrorKind, MAX_RESOURCE_META_BYTES, Registry, TaskType};

use crate::stub::{Endless, call, create};

fn registry() -> Registry {
    Registry::builder().register(Endless::<0>(vec![TaskType::new("a", 0)])).build().unwrap()
}

#[tokio::test]
async fn connector_receives_meta_it_returned() {
    let registry = registry();
    let connector = registry.by_name("first").unwrap();
    let meta = connector.create(create("workspace")).await.unwrap();
    assert_eq!(meta, br#"{"host":"workspace","run_id":7}"#);
    assert_eq!(connector.get(call(), &meta).await.unwrap().message, "workspace 7");
}

#[tokio::test]
async fn unknown_keys_in_meta_are_ignored() {
    let registry = registry();
    let connector = registry.by_name("first").unwrap();
    let meta = br#"{"host":"h","run_id":1,"auth_token":"x"}"#;
    assert_eq!(connector.get(call(), meta).await.unwrap().message, "h 1");
}

#[tokio::test]
async fn malformed_meta_is_rejected_without_quoting_its_values() {
    let registry = registry();
    let connector = registry.by_name("first").unwrap();
    let long = vec![b' '; MAX_RESOURCE_META_BYTES + 1];
    for meta in [
        &b""[..],
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        br#"{"host":"h"}"#,
        br#"{"host":"canary","run_id":"canary"}"#,
        &long,
    ] {
        for error in [
            connector.get(call(), meta).await.unwrap_err(),
            connector.delete(call(), meta).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidMeta);
            assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        }
    }
    let error = connector.get(call(), br#"{"host":"h"}"#).await.unwrap_err();
    assert!(error.to_string().contains("missing field `run_id`"), "{error}");
}

#[tokio::test]
async fn oversized_meta_is_not_returned_to_flyte() {
    let registry = registry();
    let connector = registry.by_name("first").unwrap();
    let error = connector.create(create(&"x".repeat(MAX_RESOURCE_META_BYTES))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
}
