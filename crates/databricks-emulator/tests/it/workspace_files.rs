//! Workspace files.

use crate::client::{Client, emulator};
use serde_json::json;

const PATH: &str = "/Workspace/Users/someone@example.com/f.py";

#[tokio::test]
async fn file_is_imported_read_exported_and_deleted() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let import = json!({"path": PATH, "format": "AUTO", "content": "cHJpbnQoMSkK"});
    assert_eq!(client.post("/api/2.0/workspace/import", &import).await.0, 200);
    assert_eq!(emulator.workspace_file(PATH).unwrap(), b"print(1)\n");
    let (_, status) = client.get(&format!("/api/2.0/workspace/get-status?path={PATH}")).await;
    assert_eq!(status["object_type"], "FILE");
    let (_, exported) = client.get(&format!("/api/2.0/workspace/export?path={PATH}")).await;
    assert_eq!(exported["content"], import["content"]);

    let delete = json!({ "path": PATH });
    assert_eq!(client.post("/api/2.0/workspace/delete", &delete).await.0, 200);
    let (status, error) = client.post("/api/2.0/workspace/delete", &delete).await;
    assert_eq!((status.as_u16(), &error["error_code"]), (404, &json!("RESOURCE_DOES_NOT_EXIST")));
}

#[tokio::test]
async fn file_outside_the_home_is_forbidden() {
    let emulator = emulator().await;
    let import = json!({"path": "/Shared/f.py", "format": "AUTO", "content": ""});
    let (status, error) = Client::of(&emulator).post("/api/2.0/workspace/import", &import).await;
    assert_eq!((status.as_u16(), &error["error_code"]), (403, &json!("PERMISSION_DENIED")));
}
