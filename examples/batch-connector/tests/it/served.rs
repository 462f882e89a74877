//! The program as a user starts it: TLS, health, metrics, logs and graceful shutdown.

use connector_core::{testing::Fault, value};
use flyteidl2::{
    connector::{
        CreateTaskRequest, DeleteTaskRequest, GetTaskRequest, TaskCategory,
        async_connector_service_client::AsyncConnectorServiceClient,
    },
    core::{Connection, TaskTemplate, task_execution::Phase},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    process::{Identity, Server},
    service::{Service, TOKEN},
};

pub fn connection() -> Connection {
    let secrets = [("batch_token".to_owned(), TOKEN.to_owned())].into();
    Connection { secrets, ..Default::default() }
}

pub fn category() -> TaskCategory {
    TaskCategory { name: "batch".to_owned(), version: 0 }
}

pub fn create_request() -> CreateTaskRequest {
    let custom = serde_json::json!({"command": "true"});
    CreateTaskRequest {
        template: Some(TaskTemplate {
            r#type: "batch".to_owned(),
            custom: custom.as_object().map(value::struct_from_json),
            ..Default::default()
        }),
        connection: Some(connection()),
        ..Default::default()
    }
}

#[tokio::test]
async fn task_runs_over_tls_and_shows_in_health_metrics_and_log() {
    let service = Service::default();
    let identity = Identity::new();
    let server = Server::start(service.serve(0).await.unwrap(), Some(&identity));
    let channel = server.tls_channel(&identity).await;
    let health = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await;
    assert_eq!(health.unwrap().into_inner().status(), ServingStatus::Serving);

    let mut client = AsyncConnectorServiceClient::new(channel);
    let resource_meta =
        client.create_task(create_request()).await.unwrap().into_inner().resource_meta;
    let get = GetTaskRequest {
        resource_meta: resource_meta.clone(),
        task_category: Some(category()),
        connection: Some(connection()),
        ..Default::default()
    };
    for (fault, expected) in [
        (None, Phase::Running),
        (Some(Fault::ServerError), Phase::Running),
        (Some(Fault::CredentialRejected), Phase::Running),
    ] {
        service.set_fault(fault);
        let resource = client.get_task(get.clone()).await.unwrap().into_inner().resource.unwrap();
        assert_eq!(resource.phase(), expected, "{fault:?}");
    }
    service.set_fault(None);
    service.end_jobs(connector_core::testing::JobEnd::Success);
    let resource = client.get_task(get).await.unwrap().into_inner().resource.unwrap();
    assert_eq!(resource.phase(), Phase::Succeeded);
    assert_eq!(resource.log_links[0].name, "Batch job");
    client
        .delete_task(DeleteTaskRequest {
            resource_meta,
            task_category: Some(category()),
            connection: Some(connection()),
        })
        .await
        .unwrap();

    let (status, metrics) = server.page("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("task_type=\"batch\""), "{metrics}");
    server.terminate();
    let (code, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("job started") && !log.contains(TOKEN), "{log}");
}

#[tokio::test]
async fn sigterm_lets_a_create_finish() {
    let service = Service::default();
    let server = Server::start(service.serve(0).await.unwrap(), None);
    service.hold_calls(true);
    let mut client =
        AsyncConnectorServiceClient::connect(format!("http://{}", server.grpc)).await.unwrap();
    let create = tokio::spawn(async move { client.create_task(create_request()).await });
    service.until_held().await;
    server.terminate();
    while server.page("/readyz").await.0 != 503 {
        tokio::task::yield_now().await;
    }
    service.hold_calls(false);
    create.await.unwrap().unwrap();
    assert_eq!(service.started(), 1);
    assert_eq!(server.wait().0, Some(0));
}
