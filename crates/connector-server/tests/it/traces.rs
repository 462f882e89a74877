//! OpenTelemetry traces of the binary, as received by a collector and by the workspace.
#![cfg(feature = "otel")]

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use databricks_emulator::{Calls, CannedResponse, Emulator, Endpoint, Fault, FaultRule, When};
use flyteidl2::connector::GetTaskRequest;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message as _;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};

use crate::{
    fixtures::create_request_for,
    process::ServerProcess,
    workspace::{task_category, unreachable_host},
};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT_SPAN_ID: &str = "b7ad6b7169203331";

/// Records exported spans and the configured `api-key` header.
#[derive(Debug, Clone, Default)]
struct Collector(Arc<Mutex<Vec<Received>>>);

type Received = (ExportTraceServiceRequest, Option<String>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let key = request.metadata().get("api-key").map(|key| key.to_str().unwrap().to_owned());
        self.0.lock().unwrap().push((request.into_inner(), key));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Listens for one OTLP protocol. Returns the endpoint.
    async fn listen(&self, protocol: &str) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = if protocol == "grpc" {
            tonic::service::Routes::new(TraceServiceServer::new(self.clone()))
                .prepare()
                .into_axum_router()
        } else {
            let collector = self.clone();
            let export = async move |headers: http::HeaderMap, body: bytes::Bytes| {
                let request = ExportTraceServiceRequest::decode(body).unwrap();
                let key = headers.get("api-key").map(|key| key.to_str().unwrap().to_owned());
                collector.0.lock().unwrap().push((request, key));
                ExportTraceServiceResponse::default().encode_to_vec()
            };
            axum::Router::new().route("/v1/traces", axum::routing::post(export))
        };
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        format!("http://{address}")
    }

    fn spans(&self) -> Vec<Span> {
        let received = self.0.lock().unwrap();
        let resources = received.iter().flat_map(|(request, _)| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

async fn spans_of_a_task(protocol: &str) {
    let collector = Collector::default();
    let endpoint = collector.listen(protocol).await;
    let emulator = Emulator::builder().token("dapi-DATABRICKS_TOKEN").start().await.unwrap();
    // The first submission gets a transient error.
    emulator.inject(FaultRule::on_calls(
        Calls::to([Endpoint::SubmitRun]),
        When::once(Fault::Answer(CannedResponse::json(503, "{}"))),
    ));
    let folder = tempfile::tempdir().unwrap();
    let process = ServerProcess::start(
        "",
        &[
            ("FLYTE_DATABRICKS_ALLOWED_HOSTS", "127.0.0.1:*"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=canary-collector"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ],
    );
    let (process, log) = process.read_log_in_background();
    let mut tasks = process.tasks().await;
    let mut create = create_request_for("01_new_cluster", &emulator.http_url());
    create.output_prefix = format!("file://{}", folder.path().display());
    let mut create = Request::new(create);
    let caller = format!("00-{TRACE_ID}-{PARENT_SPAN_ID}-01").parse().unwrap();
    create.metadata_mut().insert("traceparent", caller);
    create.metadata_mut().insert("tracestate", "vendor=1".parse().unwrap());
    let connection = create.get_ref().connection.clone();
    let resource_meta = tasks.create_task(create).await.unwrap().into_inner().resource_meta;
    let run_id = emulator.runs()[0].run_id;
    while emulator.advance(run_id).is_some_and(|run| run.result.is_none()) {}
    let get = GetTaskRequest {
        resource_meta,
        output_prefix: format!("file://{}", folder.path().display()),
        task_category: Some(task_category()),
        connection,
    };
    tasks.get_task(get).await.unwrap();
    // The server flushes spans when it stops.
    process.signal("TERM");
    let log = log.join().unwrap();

    let spans = collector.spans();
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    let rpcs = named(&spans, "rpc");
    assert_eq!(rpcs.len(), 2, "{names:?}");
    let method = |span: &Span| attribute(&span.attributes, "rpc.method").unwrap();
    let create = rpcs.iter().find(|span| method(span) == "CreateTask").unwrap();
    assert_eq!(
        (hex(&create.trace_id), hex(&create.parent_span_id)),
        (TRACE_ID.into(), PARENT_SPAN_ID.into())
    );
    assert_eq!(attribute(&create.attributes, "rpc.system").as_deref(), Some("grpc"));
    assert_eq!(attribute(&create.attributes, "rpc.grpc.status_code").as_deref(), Some("0"));
    assert!(attribute(&create.attributes, "flyte.run").is_some());
    // A call without a trace context starts a new trace.
    let get = rpcs.iter().find(|span| method(span) == "GetTask").unwrap();
    assert!(get.parent_span_id.is_empty() && hex(&get.trace_id) != TRACE_ID);

    let submissions = named(&spans, "POST runs/submit");
    let sent: Vec<_> = submissions
        .iter()
        .map(|span| {
            let attribute = |key| attribute(&span.attributes, key).unwrap();
            (attribute("http.request.resend_count"), attribute("http.response.status_code"))
        })
        .collect();
    assert_eq!(sent, [("0".to_owned(), "503".to_owned()), ("1".to_owned(), "200".to_owned())]);
    assert!(submissions.iter().all(|span| span.parent_span_id == create.span_id));
    assert_eq!(submissions[0].status.as_ref().unwrap().code, 2, "status is ERROR");
    let reads = named(&spans, "GET runs/get");
    assert!(reads.iter().any(|span| span.parent_span_id == get.span_id), "{names:?}");
    let files = named(&spans, "read error.pb");
    assert!(files.iter().any(|span| span.trace_id == get.trace_id), "{names:?}");

    // Requests to the workspace carry the span's context.
    let headers: Vec<String> = emulator
        .requests()
        .iter()
        .filter(|request| request.path.ends_with("runs/submit"))
        .map(|request| request.header("traceparent").unwrap().to_owned())
        .collect();
    let expected: Vec<String> =
        submissions.iter().map(|span| format!("00-{TRACE_ID}-{}-01", hex(&span.span_id))).collect();
    assert_eq!(headers, expected);
    assert_eq!(emulator.requests()[0].header("tracestate"), Some("vendor=1"));

    let received = collector.0.lock().unwrap();
    for (request, key) in received.iter() {
        assert_eq!(key.as_deref(), Some("canary-collector"));
        let resource = request.resource_spans[0].resource.as_ref().unwrap();
        let resource = |key| attribute(&resource.attributes, key);
        assert_eq!(resource("service.name").as_deref(), Some("flyte-connector"));
        assert_eq!(resource("deployment.environment.name").as_deref(), Some("test"));
        assert!(!format!("{request:?}").contains("dapi-"), "{request:?}");
    }
    assert!(!log.contains("canary-collector") && !log.contains("dapi-"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_a_task_are_exported_over_http() {
    Box::pin(spans_of_a_task("http/protobuf")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_a_task_are_exported_over_grpc() {
    Box::pin(spans_of_a_task("grpc")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_collector_logs_one_line_and_fails_no_call() {
    let (_socket, collector) = unreachable_host();
    let emulator = Emulator::builder().token("dapi-DATABRICKS_TOKEN").start().await.unwrap();
    let endpoint = format!("http://canary-user@{collector}");
    let process = ServerProcess::start(
        "",
        &[
            ("FLYTE_DATABRICKS_ALLOWED_HOSTS", "127.0.0.1:*"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ],
    );
    let (process, log) = process.read_log_in_background();
    let create = create_request_for("01_new_cluster", &emulator.http_url());
    process.tasks().await.create_task(create).await.unwrap();
    process.signal("TERM");
    let log = log.join().unwrap();
    let lines = log.lines().filter(|line| line.contains("spans cannot be exported"));
    assert_eq!(lines.count(), 1, "{log}");
    assert!(!log.contains("canary"), "{log}");
}
