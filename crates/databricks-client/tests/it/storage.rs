//! Files of DBFS and of volumes, and events of clusters.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use databricks_client::{ErrorKind, clusters::ListClusterEvents};
use serde_json::json;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_json, header, method, path, query_param},
};

use crate::fixture::{answer, client};

#[tokio::test]
async fn dbfs_read_sends_offset_and_length() {
    let server = MockServer::start().await;
    Mock::given(path("/api/2.0/dbfs/read"))
        .and(query_param("path", "/logs/a b"))
        .and(query_param("offset", "7"))
        .and(query_param("length", "1000000"))
        .respond_with(answer(200, json!({"bytes_read": 2, "data": STANDARD.encode("<x")})))
        .expect(1)
        .mount(&server)
        .await;
    let read = client(&server).read_dbfs("/logs/a b", 7, 9_999_999).await.unwrap();
    assert_eq!(read.as_deref(), Some(b"<x".as_slice()));
}

#[tokio::test]
async fn file_is_absent_only_if_the_workspace_reports_it() {
    let server = MockServer::start().await;
    for (name, code) in
        [("/missing", "RESOURCE_DOES_NOT_EXIST"), ("/gateway", "ENDPOINT_NOT_FOUND")]
    {
        for endpoint in ["/api/2.0/dbfs/list", "/api/2.0/dbfs/read"] {
            Mock::given(path(endpoint))
                .and(query_param("path", name))
                .respond_with(answer(404, json!({"error_code": code, "message": "m"})))
                .mount(&server)
                .await;
        }
    }
    let client = client(&server);
    assert_eq!(client.list_dbfs("/missing").await.unwrap(), None);
    assert_eq!(client.read_dbfs("/missing", 0, 1).await.unwrap(), None);
    assert_eq!(client.list_dbfs("/gateway").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(client.read_dbfs("/gateway", 0, 1).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn range_of_a_volume_file_may_have_any_content() {
    let server = MockServer::start().await;
    let file = "/api/2.0/fs/files/Volumes/c/s/v/a%20b";
    for (range, status, body) in [
        ("bytes=2-4", 206, "<{x"),
        // The whole file, from a service that ignores the header.
        ("bytes=3-4", 200, "0123456789"),
        ("bytes=90-94", 416, ""),
    ] {
        Mock::given(method("GET"))
            .and(path(file))
            .and(header("range", range))
            .respond_with(
                ResponseTemplate::new(status).set_body_raw(body, "application/octet-stream"),
            )
            .expect(1)
            .mount(&server)
            .await;
    }
    let client = client(&server);
    let read = async |offset, length| {
        let part = client.read_volume_file("/Volumes/c/s/v/a b", offset, length).await.unwrap();
        String::from_utf8(part.unwrap().to_vec()).unwrap()
    };
    assert_eq!(read(2, 3).await, "<{x");
    assert_eq!(read(3, 2).await, "34");
    assert_eq!(read(90, 5).await, "");
}

#[tokio::test]
async fn html_page_is_not_a_range_of_a_file() {
    let server = MockServer::start().await;
    Mock::given(path("/api/2.0/fs/files/Volumes/x"))
        .respond_with(ResponseTemplate::new(200).set_body_raw("<html>", "text/html"))
        .mount(&server)
        .await;
    let error = client(&server).read_volume_file("/Volumes/x", 0, 9).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
}

#[tokio::test]
async fn all_pages_of_a_volume_folder_are_read() {
    let server = MockServer::start().await;
    let folder = "/api/2.0/fs/directories/Volumes/c/s/v";
    Mock::given(path(folder))
        .and(query_param("page_token", "t"))
        .respond_with(answer(
            200,
            json!({"contents": [{"name": "b", "file_size": "7", "last_modified": 9}]}),
        ))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path(folder))
        .respond_with(answer(
            200,
            json!({"contents": [{"name": "a", "is_directory": true}], "next_page_token": "t"}),
        ))
        .expect(1)
        .mount(&server)
        .await;
    let files = client(&server).list_volume("/Volumes/c/s/v").await.unwrap().unwrap();
    let listed: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.file_size)).collect();
    assert_eq!(listed, [("a", None), ("b", Some(7))]);
}

#[tokio::test]
async fn cluster_events_are_retried_although_they_use_post() {
    let server = MockServer::start().await;
    let body = json!({"cluster_id": "c", "order": "ASC", "page_size": 500, "start_time": 5, "event_types": ["RUNNING"]});
    Mock::given(method("POST"))
        .and(path("/api/2.1/clusters/events"))
        .respond_with(ResponseTemplate::new(503))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(path("/api/2.1/clusters/events"))
        .and(body_json(body))
        .respond_with(answer(
            200,
            json!({"events": [{"type": "RUNNING", "timestamp": 7, "details": null}, {"type": "NOVEL", "details": {"current_num_workers": 2}}]}),
        ))
        .expect(1)
        .mount(&server)
        .await;
    let list = ListClusterEvents {
        cluster_id: "c".to_owned(),
        start_time: Some(5),
        event_types: vec!["RUNNING".to_owned()],
        page_size: 1_000,
        ..ListClusterEvents::default()
    };
    let events = client(&server).list_cluster_events(&list).await.unwrap();
    assert_eq!((events[0].timestamp, events[0].kind.as_deref()), (Some(7), Some("RUNNING")));
    assert_eq!(events[1].details.current_num_workers, Some(2));
}
