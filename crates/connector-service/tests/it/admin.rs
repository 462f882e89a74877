//! The HTTP port.

use flyteidl2::connector::{CreateTaskRequest, GetTaskRequest};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use crate::scripted::{Act, Meta, category, create, start_scripted};

#[tokio::test]
async fn calls_are_counted_under_the_names_of_the_python_server() {
    let (server, _connector) = start_scripted().await;
    let mut tasks = server.tasks();
    tasks.create_task(create(Act::Ok)).await.unwrap();
    tasks.create_task(CreateTaskRequest::default()).await.unwrap_err();
    let get = GetTaskRequest {
        resource_meta: Meta::bytes(Act::Panic),
        task_category: Some(category()),
        ..Default::default()
    };
    tasks.get_task(get).await.unwrap_err();

    for path in ["/metrics", "/"] {
        let (status, text) = server.page(path).await;
        assert_eq!(status, 200);
        for line in [
            "# TYPE flyte_connector_requests_success_total counter",
            r#"flyte_connector_requests_success_total{task_type="scripted",operation="create"} 1"#,
            r#"flyte_connector_requests_failure_total{task_type="unknown",operation="create",error_code="404"} 1"#,
            r#"flyte_connector_requests_failure_total{task_type="scripted",operation="get",error_code="500"} 1"#,
            r#"flyte_connector_request_latency_seconds_count{task_type="scripted",operation="create"} 1"#,
            r#"flyte_connector_input_literal_bytes_count{task_type="unknown"} 1"#,
            r#"flyte_connector_input_literal_bytes_sum{task_type="scripted"} 0.0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("# EOF"));
    }
}

#[tokio::test]
async fn open_metrics_is_served_on_request() {
    let (server, _connector) = start_scripted().await;
    let response = reqwest::Client::new()
        .get(format!("http://{}/metrics", server.http))
        .header("accept", "application/openmetrics-text; version=1.0.0,text/plain;q=0.5")
        .send()
        .await
        .unwrap();
    assert_eq!(
        response.headers()["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let text = response.text().await.unwrap();
    assert!(
        text.contains("# TYPE flyte_connector_requests_success counter\n")
            && text.ends_with("# EOF\n"),
        "{text}"
    );
}

#[tokio::test]
async fn running_server_is_live_and_ready() {
    let (server, _connector) = start_scripted().await;
    assert_eq!(server.page("/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(server.page("/readyz").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let (server, _connector) = start_scripted().await;
    let response = reqwest::Client::new()
        .post(format!("http://{}/metrics", server.http))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["allow"]),
        (405, &"GET".parse().unwrap())
    );
}

#[tokio::test]
async fn idle_connections_do_not_block_a_probe() {
    let (server, _connector) = start_scripted().await;
    let mut silent = Vec::new();
    for _ in 0..150 {
        silent.push(TcpStream::connect(server.http).await.unwrap());
    }
    assert_eq!(server.page("/livez").await.0, 200);
    // The first one was evicted.
    let mut nothing = Vec::new();
    let _reset_counts_too = silent[0].read_to_end(&mut nothing).await;
    assert!(nothing.is_empty());
}

#[tokio::test]
async fn status_page_is_off_by_default() {
    let (server, _connector) = start_scripted().await;
    assert!(server.page("/status").await.1.starts_with("# HELP"));
}

#[tokio::test]
async fn cancelled_call_is_counted_and_timed() {
    let (server, connector) = start_scripted().await;
    let mut tasks = server.tasks();
    let request = GetTaskRequest {
        resource_meta: Meta::bytes(Act::Wait),
        task_category: Some(category()),
        ..GetTaskRequest::default()
    };
    let call = tokio::spawn(async move { tasks.get_task(request).await });
    connector.0.entered.acquire().await.unwrap().forget();
    call.abort();
    server.scrape_until(r#"method="GetTask",code="CANCELLED"} 1"#).await;
    let (_, text) = server.page("/metrics").await;
    let seconds = r#"rpc_duration_seconds_count{task_type="scripted",method="GetTask"} 1"#;
    assert!(text.contains(seconds), "{text}");
}
