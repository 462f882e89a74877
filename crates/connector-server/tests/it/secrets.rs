//! Secrets appear in no log line, error, trailer, metric or `resource_meta`, whichever fault is injected.
//!
//! Every secret that enters the server contains `canary`, so a leak is found by searching for the word.

use std::{
    fs,
    num::{NonZeroU32, NonZeroUsize},
    path::Path,
    process::Command,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Parser as _;
use connector_server::{Args, Config, Environment, registry};
use databricks_emulator::{
    Calls, CannedResponse, ConnectionFault, Emulator, Fault, FaultPlan, FaultRule, RetryAfter,
    RunCalls, RunFault, SlowBody, TokenClock, When,
};
use flyteidl2::{
    connector::{
        CreateTaskRequest, DeleteTaskRequest, GetTaskLogsRequest, GetTaskMetricsRequest,
        GetTaskRequest, async_connector_service_client::AsyncConnectorServiceClient,
    },
    core::Connection,
};
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Request, transport::Channel};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use crate::{fixtures::create_request, process::ServerProcess, workspace::task_category};

const TASK: &str = "canary-task-token-a1";
const OWN: &str = "canary-own-token-b2";
const CLIENT: &str = "canary-client-secret-c3";
const BASIC: &str = "canary-basic-auth-d4";
const ENV: &str = "canary-env-value-e5";
const V1: &str = "canary-v1-token-f6";
const INPUT: &str = "canary-input-g7";
const CALLER: &str = "canary-caller-token-0123456789";
const SPARK: &str = "canary-spark-env-h8";

/// Every secret that enters the server.
const CANARIES: [&str; 9] = [TASK, OWN, CLIENT, BASIC, ENV, V1, INPUT, CALLER, SPARK];

/// Returns a request with a secret in every field that can hold one.
fn request(host: &str, connection: Option<Connection>) -> CreateTaskRequest {
    let mut request = create_request("40_executor_first_attempt");
    let template = request.template.as_mut().unwrap();
    let custom = json!({
        "databricksInstance": host,
        "databricksConf": {"new_cluster": {
            "spark_version": "15.4.x-scala2.12", "node_type_id": "n", "num_workers": 1,
            "docker_image": {"url": "registry/image", "basic_auth": {"username": "u", "password": BASIC}},
            "spark_env_vars": {"PASSWORD": SPARK},
        }},
    });
    let Value::Object(custom) = custom else { panic!("{custom}") };
    template.custom = Some(connector_core::value::struct_from_json(&custom));
    let execution = request.task_execution_metadata.as_mut().unwrap();
    execution.environment_variables.insert("SECRET".to_owned(), ENV.to_owned());
    let literal = flyteidl2::task::NamedLiteral { name: INPUT.to_owned(), value: None };
    request.inputs = Some(flyteidl2::task::Inputs { literals: vec![literal], context: Vec::new() });
    request.output_prefix = String::new();
    request.connection = connection;
    request
}

fn secrets(pairs: &[(&str, &str)]) -> Connection {
    let secrets =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Connection { secrets, ..Connection::default() }
}

fn delete(resource_meta: Vec<u8>, connection: Option<Connection>) -> DeleteTaskRequest {
    DeleteTaskRequest { resource_meta, task_category: Some(task_category()), connection }
}

/// Calls with the caller token. Returns the message, and metadata and error as text.
async fn call<T, R>(
    message: T,
    rpc: impl AsyncFnOnce(Request<T>) -> Result<tonic::Response<R>, tonic::Status>,
) -> (Option<R>, String) {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_millis(600));
    let caller = format!("Bearer {CALLER}").parse().unwrap();
    request.metadata_mut().insert("authorization", caller);
    match rpc(request).await {
        Ok(response) => {
            let metadata = format!("{:?}", response.metadata());
            (Some(response.into_inner()), metadata)
        }
        Err(status) => {
            let details = String::from_utf8_lossy(status.details()).into_owned();
            (None, format!("{status:?} {status} {details} {:?}", status.metadata()))
        }
    }
}

/// Calls every RPC once with `connection`. Returns all responses as text.
async fn call_all(
    tasks: &AsyncConnectorServiceClient<Channel>,
    host: &str,
    connection: Option<Connection>,
    meta: Option<Value>,
) -> String {
    let mut all = String::new();
    let mut tasks = tasks.clone();
    let mut metas: Vec<Vec<u8>> = meta.iter().map(|meta| meta.to_string().into_bytes()).collect();
    if meta.is_none() {
        let create = request(host, connection.clone());
        let (created, text) =
            Box::pin(call(create, async |request| tasks.create_task(request).await)).await;
        all.push_str(&text);
        metas.extend(created.map(|created| created.resource_meta));
        // Another run, in case the creation failed.
        metas.push(json!({"databricks_instance": host, "run_id": "7"}).to_string().into_bytes());
    }
    all.push_str(
        &metas
            .iter()
            .map(|meta| String::from_utf8_lossy(meta))
            .collect::<String>()
            .replace(V1, "v1"),
    );
    for resource_meta in metas {
        let get = GetTaskRequest {
            resource_meta: resource_meta.clone(),
            task_category: Some(task_category()),
            output_prefix: String::new(),
            connection: connection.clone(),
        };
        let (resource, text) = call(get, async |request| tasks.get_task(request).await).await;
        all.extend([text, format!("{resource:?}")]);
        // The other calls carry no connection, so they would not send the secret that the proxy echoes.
        if connection.is_some() {
            let delete = delete(resource_meta, connection.clone());
            let (_, text) = call(delete, async |request| tasks.delete_task(request).await).await;
            all.push_str(&text);
            continue;
        }
        let logs = GetTaskLogsRequest {
            resource_meta: resource_meta.clone(),
            task_category: Some(task_category()),
            ..GetTaskLogsRequest::default()
        };
        let (stream, text) = call(logs, async |request| tasks.get_task_logs(request).await).await;
        all.push_str(&text);
        if let Some(mut stream) = stream {
            while let Ok(Some(page)) = stream.message().await {
                all.extend([format!("{page:?}")]);
            }
        }
        let metrics = GetTaskMetricsRequest {
            resource_meta: resource_meta.clone(),
            task_category: Some(task_category()),
            ..GetTaskMetricsRequest::default()
        };
        let (series, text) =
            call(metrics, async |request| tasks.get_task_metrics(request).await).await;
        all.extend([text, format!("{series:?}")]);
        let delete = delete(resource_meta, connection.clone());
        let (_, text) = call(delete, async |request| tasks.delete_task(request).await).await;
        all.push_str(&text);
    }
    all
}

/// Returns all kinds of faults, including a proxy that echoes the secret `sent`.
fn faults(sent: &str) -> Vec<Vec<FaultRule>> {
    let mut faults: Vec<Fault> = [400, 401, 403, 404, 429, 500, 503]
        .into_iter()
        .flat_map(|status| {
            // After a rejection of the task's secret, DeleteTask sends the connector's own, which has its own echo.
            let sent = if matches!(status, 401 | 403) && sent != OWN { "it" } else { sent };
            let echo = format!("<html>you sent Authorization: Bearer {sent}</html>");
            let body = json!({"error_code": "X", "message": format!("bad {sent}")}).to_string();
            [CannedResponse::html(status, echo), CannedResponse::json(status, body)]
        })
        .map(Fault::Answer)
        .collect();
    faults.extend([
        Fault::DropBefore,
        Fault::DropAfter,
        Fault::CutBody(20),
        Fault::RateLimited(RetryAfter::Seconds(0)),
        Fault::Redirect("https://elsewhere.example/login".parse().unwrap()),
        Fault::ContentType("text/html".parse().unwrap()),
        Fault::DelayBefore(Duration::from_secs(1)),
        Fault::DelayAfter(Duration::from_secs(1)),
        Fault::SlowBody(SlowBody { piece: NonZeroUsize::MIN, pause: Duration::from_millis(100) }),
        Fault::TokenClock(TokenClock::Ahead(Duration::from_hours(24))),
    ]);
    let calls = faults
        .into_iter()
        .map(|fault| vec![FaultRule::on_calls(Calls::any(), When::Always(fault))]);
    let runs = [RunFault::Deleted, RunFault::EarlierState(NonZeroU32::MIN)]
        .map(|fault| vec![FaultRule::on_runs(RunCalls::to([]), When::Always(fault))]);
    let connections = [
        ConnectionFault::Closed,
        ConnectionFault::NotTls,
        ConnectionFault::UntrustedCertificate,
        ConnectionFault::ExpiredCertificate,
    ]
    .map(|fault| {
        // Closes the open connection first.
        let close = FaultRule::on_calls(Calls::any(), When::once(Fault::DropBefore));
        vec![close, FaultRule::on_connections(When::Always(fault))]
    });
    calls.chain(runs).chain(connections).collect()
}

/// Returns where a secret occurs in the text, plain or as base64.
fn find_secrets(text: &str) -> Vec<String> {
    let basic = STANDARD.encode(format!("principal:{CLIENT}"));
    let mut encodings: Vec<String> = vec![basic];
    for canary in CANARIES {
        encodings.push(canary.to_owned());
        encodings.push(STANDARD.encode(canary));
    }
    encodings
        .into_iter()
        .filter_map(|encoding| {
            let at = text.find(&encoding)?;
            let from = text.floor_char_boundary(at.saturating_sub(300));
            Some(format!("{encoding}: …{}", text.get(from..at + encoding.len()).unwrap()))
        })
        .collect()
}

/// Returns the reflection of all services and of a request message.
async fn reflect(channel: Channel) -> String {
    let requests = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("flyteidl2.connector.CreateTaskRequest".to_owned()),
    ];
    let requests = requests.map(|request| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(request),
    });
    let mut request = Request::new(futures_util::stream::iter(requests));
    let caller = format!("Bearer {CALLER}").parse().unwrap();
    request.metadata_mut().insert("authorization", caller);
    let mut client = ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(request).await.unwrap().into_inner();
    let mut all = String::new();
    while let Some(answer) = answers.message().await.unwrap() {
        all.push_str(&String::from_utf8_lossy(&answer.encode_to_vec()));
    }
    assert!(all.contains("CreateTaskRequest"), "{all}");
    all
}

/// Checks that no secret leaks, with or without TLS to the workspace and in the given log format.
async fn assert_no_leak(over_tls: bool, log_format: &str) {
    let emulator = Emulator::builder()
        .token(TASK)
        .token(OWN)
        .token(V1)
        .service_principal("principal", CLIENT)
        .start()
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (tokens, certificate) = (folder.path().join("tokens"), folder.path().join("ca.pem"));
    fs::write(&tokens, CALLER).unwrap();
    fs::write(&certificate, emulator.certificate_pem()).unwrap();
    let host = if over_tls { emulator.https_host() } else { emulator.http_url() };
    let flags =
        format!("--caller-tokens {} --call-timeout 2 --log-format {log_format}", tokens.display());
    let variables = [
        ("RUST_LOG", "trace"),
        ("FLYTE_DATABRICKS_INSTANCE", host.as_str()),
        ("FLYTE_DATABRICKS_ACCESS_TOKEN", OWN),
        ("SSL_CERT_FILE", certificate.to_str().unwrap()),
    ];
    let process = ServerProcess::start(&flags, &variables);
    // Reads the log concurrently, because a full pipe would block the server.
    let (process, log) = process.read_log_in_background();
    let tasks = process.tasks().await;
    let principal =
        secrets(&[("databricks_client_id", "principal"), ("databricks_client_secret", CLIENT)]);
    let mut responses = String::new();
    let v1 = json!({"databricks_instance": host, "run_id": "7", "auth_token": V1});
    for (connection, meta, sent) in [
        (Some(secrets(&[("databricks_token", TASK)])), None, TASK),
        (None, None, OWN),
        (None, Some(v1), V1),
        (Some(principal), None, CLIENT),
    ] {
        responses.push_str(&call_all(&tasks, &host, connection.clone(), meta.clone()).await);
        for rules in faults(sent) {
            emulator.set_faults(FaultPlan::default());
            for rule in rules {
                emulator.inject(rule);
            }
            responses.push_str(&call_all(&tasks, &host, connection.clone(), meta.clone()).await);
        }
        emulator.set_faults(FaultPlan::default());
    }
    for page in ["metrics", "livez", "readyz", "status"] {
        let page = reqwest::get(format!("http://{}/{page}", process.http)).await.unwrap();
        responses.push_str(&page.text().await.unwrap());
    }
    responses.push_str(&reflect(process.channel().await).await);
    process.signal("TERM");
    let log = log.join().unwrap();
    assert!(log.contains("databricks request") && log.len() > 100_000, "the log is at trace");
    let requests = emulator.requests().len();
    assert!(requests > 50, "{requests} requests");
    for (place, text) in [("a response", &responses), ("the log", &log)] {
        let found = find_secrets(text);
        assert!(found.is_empty(), "in {place}: {found:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_leaks_a_secret_over_tls_with_json_logs() {
    assert_no_leak(true, "json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_leaks_a_secret_over_plaintext_with_human_logs() {
    assert_no_leak(false, "human").await;
}

/// Returns variables and files with a secret in every setting that can hold one. The workspace accepts none of them.
fn secret_settings(folder: &Path, host: &str) -> Vec<(String, String)> {
    let path = |name: &str| folder.join(name).display().to_string();
    for name in ["token", "secret", "callers"] {
        fs::write(path(name), format!("canary-in-the-file-{name}")).unwrap();
    }
    let profile = format!("[prod]\nhost = {host}\ntoken = {OWN}\n");
    fs::write(path("databrickscfg"), profile).unwrap();
    let entries = [
        ("pat-env", "pat", "token_env = \"DATABRICKS_TOKEN\"".to_owned()),
        ("pat-file", "pat", format!("token_file = \"{}\"", path("token"))),
        ("m2m", "oauth-m2m", "client_id = \"i\", client_secret_env = \"SECRET\"".to_owned()),
        ("oidc", "env-oidc", "client_id = \"i\", token_env = \"JWT\"".to_owned()),
        ("file-oidc", "file-oidc", format!("token_file = \"{}\"", path("secret"))),
    ];
    let workspaces = entries
        .iter()
        .map(|(name, kind, rest)| {
            format!(
                "[workspace.{name}]\nhost = \"{host}\"\nauth = {{ type = \"{kind}\", {rest} }}\n"
            )
        })
        .collect::<Vec<String>>()
        .concat();
    fs::write(path("workspaces.toml"), workspaces).unwrap();
    [
        ("FLYTE_DATABRICKS_INSTANCE", host.to_owned()),
        ("FLYTE_DATABRICKS_ACCESS_TOKEN", OWN.to_owned()),
        ("FLYTE_DATABRICKS_WORKSPACES", path("workspaces.toml")),
        ("DATABRICKS_TOKEN", TASK.to_owned()),
        ("DATABRICKS_CONFIG_FILE", path("databrickscfg")),
        ("DATABRICKS_CONFIG_PROFILE", "prod".to_owned()),
        ("SECRET", CLIENT.to_owned()),
        ("JWT", V1.to_owned()),
        ("FLYTE_LOG_TOKEN_KEY", format!("{ENV}-and-enough-characters")),
        ("FLYTE_AWS_ACCESS_KEY_ID", BASIC.to_owned()),
        ("FLYTE_AWS_SECRET_ACCESS_KEY", SPARK.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[test]
fn debug_output_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let variables = secret_settings(folder.path(), "dbc-m2m.cloud.databricks.com");
    let environment: Environment = variables.into_iter().collect();
    let callers = folder.path().join("callers").display().to_string();
    let flags = ["connector-server", "--caller-tokens", &callers];
    let args = Args::try_parse_from(flags).unwrap();
    let config = Config::new(&args.serve, &environment).unwrap();
    let connectors = registry(config.databricks.clone()).unwrap();
    let all = format!("{args:?} {environment:?} {config:?} {connectors:?}");
    assert!(all.contains("dbc-m2m.cloud.databricks.com"), "{all}");
    let found = find_secrets(&all);
    assert!(found.is_empty() && !all.contains("canary"), "{found:#?} in {all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_of_invalid_credentials_shows_no_secret() {
    let emulator = Emulator::builder().token("another").start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_connector-server"))
        .arg("check")
        .env_clear()
        .envs(secret_settings(folder.path(), &emulator.http_url()))
        .env("RUST_LOG", "trace")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let all = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(all.contains("pat-file") && all.contains("env-oidc"), "{all}");
    assert!(!all.contains("yes"), "{all}");
    assert!(!all.contains("canary"), "{all}");
    assert!(emulator.requests().len() >= 4, "{:?}", emulator.requests());
}
