//! `Debug` output of messages that contain secrets.

use flyteidl2::connector::{CreateTaskRequest, DeleteTaskRequest, GetTaskRequest};
use flyteidl2::core::Connection;

const SECRET: &str = "dapi-canary";

fn connection() -> Connection {
    Connection {
        task_type: "databricks".into(),
        secrets: [("databricks_token".into(), SECRET.into())].into(),
        configs: [("url".into(), format!("https://user:{SECRET}@host"))].into(),
    }
}

#[track_caller]
fn check(printed: &str) {
    assert!(!printed.contains(SECRET), "{printed}");
    assert!(printed.contains("databricks_token"), "{printed}");
    assert!(printed.contains("url"), "{printed}");
}

#[test]
fn request_debug_shows_names_of_secrets_without_values() {
    check(&format!(
        "{:?}",
        CreateTaskRequest { connection: Some(connection()), ..Default::default() }
    ));
    check(&format!(
        "{:#?}",
        GetTaskRequest { connection: Some(connection()), ..Default::default() }
    ));
    check(&format!(
        "{:?}",
        DeleteTaskRequest { connection: Some(connection()), ..Default::default() }
    ));
}
