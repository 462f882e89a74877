//! The gRPC services over a socket.

use flyteidl2::{
    connector::{
        CreateTaskRequest, DeleteTaskRequest, GetConnectorRequest, GetTaskLogsRequest,
        GetTaskMetricsRequest, GetTaskRequest, GetTaskResponse, ListConnectorsRequest,
        TaskCategory, get_task_logs_response::Part,
    },
    core::{Connection, Literal, TaskTemplate, literal, scalar, task_execution},
    task::{Inputs, NamedLiteral},
};
use tonic::{Code, Request, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt as _;

use crate::{
    scripted::{Act, Meta, category, create, start_scripted},
    server::Running,
};

fn get(act: Act) -> GetTaskRequest {
    GetTaskRequest {
        resource_meta: Meta::bytes(act),
        task_category: Some(category()),
        ..GetTaskRequest::default()
    }
}

fn delete(act: Act) -> DeleteTaskRequest {
    DeleteTaskRequest {
        resource_meta: Meta::bytes(act),
        task_category: Some(category()),
        connection: None,
    }
}

fn metrics(act: Act) -> GetTaskMetricsRequest {
    GetTaskMetricsRequest {
        resource_meta: Meta::bytes(act),
        task_category: Some(category()),
        queries: vec!["a".to_owned(), "b".to_owned()],
        ..GetTaskMetricsRequest::default()
    }
}

fn logs(act: Act) -> GetTaskLogsRequest {
    GetTaskLogsRequest {
        resource_meta: Meta::bytes(act),
        task_category: Some(category()),
        lines: 2,
        ..GetTaskLogsRequest::default()
    }
}

/// Makes all five calls with the same scripted act. Returns their results.
async fn all_five(server: &Running, act: Act) -> [Result<(), Status>; 5] {
    let mut tasks = server.tasks();
    [
        tasks.create_task(create(act)).await.map(drop),
        tasks.get_task(get(act)).await.map(drop),
        tasks.delete_task(delete(act)).await.map(drop),
        tasks.get_task_metrics(metrics(act)).await.map(drop),
        tasks.get_task_logs(logs(act)).await.map(drop),
    ]
}

#[tokio::test]
async fn task_passes_through_all_five_calls() {
    let (server, connector) = start_scripted().await;
    let mut tasks = server.tasks();

    let created = tasks.create_task(create(Act::Ok)).await.unwrap().into_inner();
    assert_eq!(created.resource_meta, br#"{"act":"ok"}"#);
    assert_eq!(connector.0.created.available_permits(), 1);

    let connection = Connection {
        secrets: [("token".to_owned(), "dapi".to_owned())].into(),
        ..Connection::default()
    };
    let request = GetTaskRequest {
        resource_meta: created.resource_meta.clone(),
        task_category: Some(category()),
        output_prefix: "s3://b/o".to_owned(),
        connection: Some(connection),
    };
    let resource = tasks.get_task(request).await.unwrap().into_inner().resource.unwrap();
    assert_eq!(resource.phase(), task_execution::Phase::Initializing);
    assert_eq!(resource.message, "prefix s3://b/o, secret true, deadline true");
    assert_eq!(
        (resource.log_links[0].name.as_str(), resource.log_links[0].ready),
        ("Console", true)
    );

    let found = tasks.get_task_metrics(metrics(Act::Ok)).await.unwrap().into_inner();
    let names: Vec<&str> = found.results.iter().map(|result| result.metric.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(found.results[0].data.as_ref().unwrap().fields.contains_key("resultType"));

    tasks.delete_task(delete(Act::Ok)).await.unwrap();
}

#[tokio::test]
async fn log_page_is_a_body_and_a_header_while_there_is_more() {
    let (server, _connector) = start_scripted().await;
    let mut tasks = server.tasks();
    let mut parts = Vec::new();
    let mut page = tasks.get_task_logs(logs(Act::Ok)).await.unwrap().into_inner();
    while let Some(message) = page.message().await.unwrap() {
        parts.push(message.part.unwrap());
    }
    assert!(
        matches!(&parts[..], [Part::Body(body), Part::Header(header)] if body.lines.len() == 2 && header.token == "next")
    );

    let last = GetTaskLogsRequest { token: "last".to_owned(), lines: 0, ..logs(Act::Ok) };
    let mut page = tasks.get_task_logs(last).await.unwrap().into_inner();
    let only = page.message().await.unwrap().unwrap();
    assert!(matches!(only.part, Some(Part::Body(body)) if body.lines.is_empty()));
    assert_eq!(page.message().await.unwrap(), None);
}

#[tokio::test]
async fn unknown_type_or_version_is_not_found_in_all_five_calls() {
    let (server, _connector) = start_scripted().await;
    let mut tasks = server.tasks();
    for (name, version) in [("spark", 0), ("scripted", 2), ("", 0)] {
        let category = Some(TaskCategory { name: name.to_owned(), version });
        let template = TaskTemplate {
            r#type: name.to_owned(),
            task_type_version: version,
            ..TaskTemplate::default()
        };
        let create = CreateTaskRequest { template: Some(template), ..create(Act::Ok) };
        let get = GetTaskRequest { task_category: category.clone(), ..get(Act::Ok) };
        let delete = DeleteTaskRequest { task_category: category.clone(), ..delete(Act::Ok) };
        let metrics = GetTaskMetricsRequest { task_category: category.clone(), ..metrics(Act::Ok) };
        let logs = GetTaskLogsRequest { task_category: category, ..logs(Act::Ok) };
        for status in [
            tasks.create_task(create).await.unwrap_err(),
            tasks.get_task(get).await.unwrap_err(),
            tasks.delete_task(delete).await.unwrap_err(),
            tasks.get_task_metrics(metrics).await.unwrap_err(),
            tasks.get_task_logs(logs).await.unwrap_err(),
        ] {
            assert_eq!(status.code(), Code::NotFound, "{status:?}");
            let expected = if name.is_empty() {
                "the request names no task type".to_owned()
            } else {
                format!("no connector for task type {name} (version {version})")
            };
            assert_eq!(
                status.message(),
                format!(
                    "{expected}; this server serves scripted (version 0), scripted (version 1)"
                )
            );
            assert_eq!(status.get_details_error_info().unwrap().reason, "NOT_FOUND");
        }
    }
}

#[tokio::test]
async fn empty_request_is_not_found_in_all_five_calls() {
    let (server, _connector) = start_scripted().await;
    let mut tasks = server.tasks();
    for status in [
        tasks.create_task(CreateTaskRequest::default()).await.unwrap_err(),
        tasks.get_task(GetTaskRequest::default()).await.unwrap_err(),
        tasks.delete_task(DeleteTaskRequest::default()).await.unwrap_err(),
        tasks.get_task_metrics(GetTaskMetricsRequest::default()).await.unwrap_err(),
        tasks.get_task_logs(GetTaskLogsRequest::default()).await.unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::NotFound);
        assert!(
            status
                .message()
                .starts_with("the request names no task type; this server serves scripted"),
            "{status:?}"
        );
    }
}

#[tokio::test]
async fn undecodable_meta_is_an_invalid_argument() {
    let (server, _connector) = start_scripted().await;
    let mut tasks = server.tasks();
    for meta in [&b""[..], b"{", b"{}", b"\xff", br#"{"act":"nope"}"#] {
        let meta = meta.to_vec();
        for status in [
            tasks
                .get_task(GetTaskRequest { resource_meta: meta.clone(), ..get(Act::Ok) })
                .await
                .unwrap_err(),
            tasks
                .delete_task(DeleteTaskRequest { resource_meta: meta.clone(), ..delete(Act::Ok) })
                .await
                .unwrap_err(),
            tasks
                .get_task_metrics(GetTaskMetricsRequest {
                    resource_meta: meta.clone(),
                    ..metrics(Act::Ok)
                })
                .await
                .unwrap_err(),
            tasks
                .get_task_logs(GetTaskLogsRequest { resource_meta: meta, ..logs(Act::Ok) })
                .await
                .unwrap_err(),
        ] {
            assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
            assert_eq!(status.get_details_error_info().unwrap().reason, "INVALID_META");
        }
    }
}

#[tokio::test]
async fn invalid_time_range_is_an_invalid_argument() {
    let (server, _connector) = start_scripted().await;
    let step = Some(prost_types::Duration { seconds: -1, nanos: 0 });
    let status = server
        .tasks()
        .get_task_metrics(GetTaskMetricsRequest { step, ..metrics(Act::Ok) })
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "step is not a positive duration")
    );
}

#[tokio::test]
async fn error_of_a_connector_keeps_its_code_hint_and_retry_delay() {
    let (server, _connector) = start_scripted().await;
    for answer in all_five(&server, Act::Exhausted).await {
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        let wait = status.get_details_retry_info().unwrap().retry_delay;
        assert_eq!(wait, Some(std::time::Duration::from_secs(3)));
    }
    for answer in all_five(&server, Act::BadTask).await {
        let status = answer.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::InvalidArgument, "the task is bad; fix it")
        );
    }
}

#[tokio::test]
async fn panic_is_internal_for_its_call_only() {
    let (server, _connector) = start_scripted().await;
    for answer in all_five(&server, Act::Panic).await {
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("scripted"), "{status:?}");
    }
    for answer in all_five(&server, Act::Ok).await {
        answer.unwrap();
    }
}

#[tokio::test]
async fn undecodable_message_is_an_error_for_its_call_only() {
    let (server, _connector) = start_scripted().await;
    for method in ["CreateTask", "GetTask", "DeleteTask", "GetTaskMetrics", "GetTaskLogs"] {
        // Field 2 is a number, unlike in any request.
        let garbage = prost_types::Duration { seconds: 1, nanos: 2 };
        let mut client = tonic::client::Grpc::new(server.channel.clone());
        client.ready().await.unwrap();
        let path = format!("/flyteidl2.connector.AsyncConnectorService/{method}").parse().unwrap();
        let codec = tonic_prost::ProstCodec::<prost_types::Duration, GetTaskResponse>::default();
        let status = client.unary(Request::new(garbage), path, codec).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal, "{method}: {status:?}");
    }
    server.tasks().get_task(get(Act::Ok)).await.unwrap();
}

#[tokio::test]
async fn message_above_the_default_4_mib_is_accepted() {
    let (server, _connector) = start_scripted().await;
    let text = literal::Value::Scalar(Box::new(flyteidl2::core::Scalar {
        value: Some(scalar::Value::Primitive(flyteidl2::core::Primitive {
            value: Some(flyteidl2::core::primitive::Value::StringValue(
                "x".repeat(8 * 1024 * 1024),
            )),
        })),
    }));
    let literal = Literal { value: Some(text), ..Literal::default() };
    let literals = vec![NamedLiteral { name: "big".to_owned(), value: Some(literal) }];
    let inputs = Some(Inputs { literals, ..Inputs::default() });
    server.tasks().create_task(CreateTaskRequest { inputs, ..create(Act::Ok) }).await.unwrap();
}

#[tokio::test]
async fn create_continues_when_its_caller_disconnects() {
    let (server, connector) = start_scripted().await;
    let mut tasks = server.tasks();
    let caller = tokio::spawn(async move { tasks.create_task(create(Act::Wait)).await });
    connector.0.entered.acquire().await.unwrap().forget();
    caller.abort();
    // The server has noticed the disconnect.
    server.scrape_until(r#"flyte_connector_rpcs_total{task_type="scripted",method="CreateTask",code="CANCELLED"} 1"#).await;
    assert_eq!(connector.0.created.available_permits(), 0);
    connector.0.go.notify_one();
    connector.0.created.acquire().await.unwrap().forget();
}

#[tokio::test]
async fn metadata_service_lists_and_finds_connectors() {
    let (server, _connector) = start_scripted().await;
    let mut metadata = server.metadata();
    let listed =
        metadata.list_connectors(ListConnectorsRequest {}).await.unwrap().into_inner().connectors;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].name, "Scripted Connector");
    assert_eq!(
        listed[0].supported_task_categories,
        [category(), TaskCategory { version: 1, ..category() }]
    );

    let name = "Scripted Connector".to_owned();
    let found =
        metadata.get_connector(GetConnectorRequest { name }).await.unwrap().into_inner().connector;
    assert_eq!(found.as_ref(), listed.first());

    let status =
        metadata.get_connector(GetConnectorRequest { name: "X".to_owned() }).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(status.message(), "no connector is named `X`; this server has Scripted Connector");
}

#[tokio::test]
async fn health_is_serving_for_the_server_and_each_service() {
    let (server, _connector) = start_scripted().await;
    let mut health = HealthClient::new(server.channel.clone());
    for service in [
        "",
        "flyteidl2.connector.AsyncConnectorService",
        "flyteidl2.connector.ConnectorMetadataService",
        "grpc.health.v1.Health",
    ] {
        let answer = health
            .check(HealthCheckRequest { service: service.to_owned() })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let status =
        health.check(HealthCheckRequest { service: "other".to_owned() }).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}
