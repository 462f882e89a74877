//! Host validation: tasks that name a disallowed or disguised host are rejected, and no packet is sent.

use std::{io, net::TcpListener};

use connector_server::registry;
use databricks_connector::Config;
use databricks_emulator::{Calls, CannedResponse, Emulator, Fault, FaultPlan, FaultRule, When};
use flyteidl2::{
    connector::{
        CreateTaskRequest, DeleteTaskRequest, GetTaskLogsRequest, GetTaskMetricsRequest,
        GetTaskRequest,
    },
    core::{Connection, task_execution::Phase},
};
use prost_types::{Value, value::Kind};
use secrecy::SecretString;
use serde_json::json;
use tonic::Code;

use crate::{
    fixtures::create_request,
    server::{config, start},
    workspace::task_category,
};

/// Hosts that imitate Databricks domains or are not host names. `{port}` is the port of a listener on loopback.
const HOSTILE_HOSTS: [&str; 59] = [
    "http://dbc-1.cloud.databricks.com",
    "ftp://dbc-1.cloud.databricks.com",
    "file:///etc/passwd",
    "javascript://dbc-1.cloud.databricks.com",
    "dbc-1.cloud.databricks.com:8443",
    "dbc-1.cloud.databricks.com:80",
    "dbc-1.cloud.databricks.com:0",
    "dbc-1.cloud.databricks.com:443:443",
    "user@dbc-1.cloud.databricks.com",
    "user:password@dbc-1.cloud.databricks.com",
    "dbc-1.cloud.databricks.com@evil.example",
    "https://dbc-1.cloud.databricks.com@evil.example/",
    "https://evil.example#@dbc-1.cloud.databricks.com",
    "https://evil.example?x=dbc-1.cloud.databricks.com",
    "https://evil.example/dbc-1.cloud.databricks.com",
    "https://evil.example\\@dbc-1.cloud.databricks.com",
    "dbc-1.cloud.databricks.com\\.evil.example",
    "dbc-1.cloud.databricks.com.evil.example",
    "dbc-1.cloud.databricks.com..",
    "evilcloud.databricks.com.example",
    "databricks.com.evil.example",
    "notdatabricks.com",
    "evil-databricks.com",
    "xcloud.databricks.com.co",
    "azuredatabricks.net",
    "evilazuredatabricks.net",
    "adb-1.2.azuredatabricks.net.evil.example",
    "databricks.com",
    ".cloud.databricks.com",
    "dbc-1.cloud.databrıcks.com",
    "dbc-1.cloud.dаtabricks.com",
    "xn--dbc-1-evil.example",
    "dbc-1。cloud。databricks。com.evil.example",
    "dbc-1%2ecloud.databricks.com.evil.example",
    "evil.example%00.cloud.databricks.com",
    "evil.example%2f.cloud.databricks.com",
    "evil.example\t.cloud.databricks.com",
    "evil.example\n.cloud.databricks.com",
    "evil.example .cloud.databricks.com",
    "evil.example/.cloud.databricks.com",
    "169.254.169.254",
    "http://169.254.169.254/latest/meta-data",
    "metadata.google.internal",
    "[fd00:ec2::254]",
    "127.0.0.1:{port}",
    "http://127.0.0.1:{port}",
    "https://127.0.0.1:{port}",
    "localhost:{port}",
    "http://localhost:{port}",
    "localhost.:{port}",
    "[::1]:{port}",
    "[::ffff:127.0.0.1]:{port}",
    "0.0.0.0:{port}",
    "127.1:{port}",
    "2130706433:{port}",
    "0x7f000001:{port}",
    "0177.0.0.1:{port}",
    "127.0.0.1.nip.io",
    "kubernetes.default.svc",
];

fn token_connection() -> Connection {
    let secrets = [("databricks_token".to_owned(), "dapi-task".to_owned())].into();
    Connection { secrets, ..Connection::default() }
}

/// Returns a request for the workspace `host`.
fn request(host: &str, connection: Option<Connection>) -> CreateTaskRequest {
    let mut request = create_request("40_executor_first_attempt");
    let custom = request.template.as_mut().unwrap().custom.as_mut().unwrap();
    let host = Value { kind: Some(Kind::StringValue(host.to_owned())) };
    custom.fields.insert("databricksInstance".to_owned(), host);
    request.connection = connection;
    request
}

#[tokio::test]
async fn hostile_hosts_are_rejected_without_a_packet_for_any_credential() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let databricks = Config {
        instance: Some("dbc-own.cloud.databricks.com".to_owned()),
        access_token: Some(SecretString::from("dapi-own")),
        ..Config::default()
    };
    let server = start(config(), registry(databricks).unwrap()).await;
    let mut tasks = server.tasks();
    let long = format!("{}.cloud.databricks.com.evil.example", "a".repeat(5000));
    for host in HOSTILE_HOSTS.into_iter().chain([long.as_str()]) {
        let host = host.replace("{port}", &port);
        for connection in [Some(token_connection()), None] {
            let status = tasks.create_task(request(&host, connection.clone())).await.unwrap_err();
            assert!(
                matches!(status.code(), Code::InvalidArgument | Code::PermissionDenied),
                "{host}: {status:?}"
            );
            assert!(!status.message().contains("dapi"), "{status:?}");

            let resource_meta =
                json!({"databricks_instance": host, "run_id": "7"}).to_string().into_bytes();
            let get = GetTaskRequest {
                resource_meta: resource_meta.clone(),
                task_category: Some(task_category()),
                connection: connection.clone(),
                ..GetTaskRequest::default()
            };
            match tasks.get_task(get).await {
                Ok(response) => {
                    let resource = response.into_inner().resource.unwrap();
                    assert_eq!(resource.phase(), Phase::Running, "{host}");
                    assert!(!resource.message.is_empty(), "{host}");
                }
                // No connector writes such a host into resource_meta, so the call can never succeed.
                Err(status) => {
                    assert_eq!(status.code(), Code::InvalidArgument, "{host}: {status:?}");
                }
            }
            let delete = DeleteTaskRequest {
                resource_meta,
                task_category: Some(task_category()),
                connection,
            };
            tasks.delete_task(delete).await.unwrap_err();
        }
    }
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn redirects_to_another_host_are_not_followed() {
    let own = Emulator::builder()
        .token("dapi-task")
        .service_principal("principal", "secret")
        .start()
        .await
        .unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let location = format!("http://{}/api", other.local_addr().unwrap());
    let databricks = Config {
        // Both hosts are allowed, so only the redirect itself can be rejected.
        allowed_hosts: vec!["127.0.0.1:*".to_owned()],
        ..Config::default()
    };
    let server = start(config(), registry(databricks).unwrap()).await;
    let mut tasks = server.tasks();
    let host = own.http_url();
    let token = token_connection();
    let created = tasks.create_task(request(&host, Some(token.clone()))).await.unwrap();
    let resource_meta = created.into_inner().resource_meta;
    let principal = [("databricks_client_id", "principal"), ("databricks_client_secret", "secret")];
    let principal = Connection {
        secrets: principal.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..Connection::default()
    };
    for status in [301, 302, 303, 307, 308] {
        let response =
            CannedResponse::json(status, "{}").with_header("location", location.as_str());
        own.set_faults(FaultPlan::default());
        own.inject(FaultRule::on_calls(Calls::any(), When::Always(Fault::Answer(response))));
        for (n, connection) in [&token, &principal].into_iter().enumerate() {
            let mut create = request(&host, Some(connection.clone()));
            // A new attempt, because a repeated one is not submitted again.
            create.output_prefix = format!("s3://bucket/{status}/{n}");
            tasks.create_task(create).await.unwrap_err();
            let get = GetTaskRequest {
                resource_meta: resource_meta.clone(),
                task_category: Some(task_category()),
                connection: Some(connection.clone()),
                ..GetTaskRequest::default()
            };
            tasks.get_task(get).await.unwrap();
            let delete = DeleteTaskRequest {
                resource_meta: resource_meta.clone(),
                task_category: Some(task_category()),
                connection: Some(connection.clone()),
            };
            tasks.delete_task(delete).await.unwrap_err();
            // Both requests carry no connection; the server uses the last credential seen for the run.
            let logs = GetTaskLogsRequest {
                resource_meta: resource_meta.clone(),
                task_category: Some(task_category()),
                ..GetTaskLogsRequest::default()
            };
            if let Ok(stream) = tasks.get_task_logs(logs).await {
                let mut pages = stream.into_inner();
                while let Ok(Some(_)) = pages.message().await {}
            }
            let metrics = GetTaskMetricsRequest {
                resource_meta: resource_meta.clone(),
                task_category: Some(task_category()),
                ..GetTaskMetricsRequest::default()
            };
            tasks.get_task_metrics(metrics).await.unwrap_err();
        }
    }
    // For each status with the token: a submission, reads of three calls, and a cancel.
    let redirected = own.requests().len() - 1;
    assert!(redirected >= 5 * 5, "{redirected}");
    assert_eq!(other.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}
