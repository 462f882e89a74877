//! Reads logs that a cluster delivers to S3, from a real S3 server. `cargo xtask nightly --only s3-logs` starts it.

use std::{fmt::Write as _, time::Duration};

use clap::Parser as _;
use connector_core::value;
use connector_server::{Args, Config, Environment, registry};
use databricks_emulator::{Emulator, Pace, Script};
use flyteidl2::{
    connector::{GetTaskLogsRequest, get_task_logs_response::Part},
    logs::dataplane::LogLineOriginator,
};
use object_store::{ObjectStore, ObjectStoreExt as _, aws::AmazonS3Builder, path::Path};
use serde_json::json;

use crate::{
    fixtures::create_request_for,
    server::{Running, config, start},
    workspace::{CONNECTOR_TOKEN, task_category},
};

/// The bucket of `cargo xtask nightly`.
const BUCKET: &str = "flyte-data";

#[expect(clippy::disallowed_methods, reason = "xtask passes the address of the store")]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask nightly`"))
}

fn bucket() -> impl ObjectStore {
    AmazonS3Builder::new()
        .with_bucket_name(BUCKET)
        .with_endpoint(variable("FLYTE_AWS_ENDPOINT"))
        .with_access_key_id(variable("FLYTE_AWS_ACCESS_KEY_ID"))
        .with_secret_access_key(variable("FLYTE_AWS_SECRET_ACCESS_KEY"))
        .with_region("us-east-1")
        .with_allow_http(true)
        .build()
        .unwrap()
}

/// Starts a server configured by variables; those of the store come from the test's environment.
async fn serving(emulator: &Emulator, folder: &std::path::Path) -> Running {
    let certificate = folder.join("workspace.pem");
    std::fs::write(&certificate, emulator.certificate_pem()).unwrap();
    let own = [
        ("FLYTE_DATABRICKS_INSTANCE", emulator.https_host()),
        ("FLYTE_DATABRICKS_ACCESS_TOKEN", CONNECTOR_TOKEN.to_owned()),
        ("SSL_CERT_FILE", certificate.display().to_string()),
        ("FLYTE_LOG_TOKEN_KEY", "0123456789abcdef0123456789abcdef".to_owned()),
    ];
    let store = ["FLYTE_AWS_ENDPOINT", "FLYTE_AWS_ACCESS_KEY_ID", "FLYTE_AWS_SECRET_ACCESS_KEY"]
        .map(|name| (name, variable(name)));
    let environment: Environment = own.into_iter().chain(store).collect();
    let args = Args::try_parse_from(["connector-server"]).unwrap();
    let mut databricks = Config::new(&args.serve, &environment).unwrap().databricks;
    databricks.logs.empty_page_delay = Duration::ZERO;
    start(config(), registry(databricks).unwrap()).await
}

/// Returns the user's lines of one log page, and the token of the next page.
async fn page(server: &Running, resource_meta: &[u8], token: String) -> (String, Option<String>) {
    let request = GetTaskLogsRequest {
        resource_meta: resource_meta.to_vec(),
        task_category: Some(task_category()),
        token,
        ..GetTaskLogsRequest::default()
    };
    let mut stream = server.tasks().get_task_logs(request).await.unwrap().into_inner();
    let (mut text, mut next) = (String::new(), None);
    while let Some(message) = stream.message().await.unwrap() {
        match message.part.unwrap() {
            Part::Body(body) => {
                let lines = body.lines.iter();
                let written = lines.filter(|line| line.originator() == LogLineOriginator::User);
                text.extend(written.map(|line| line.message.as_str()));
            }
            Part::Header(header) => next = Some(header.token),
        }
    }
    (text, next)
}

#[tokio::test]
#[ignore = "needs an S3 server; run `cargo xtask nightly --only s3-logs`"]
async fn log_in_bucket_is_read_completely_while_written_and_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::builder().token(CONNECTOR_TOKEN).start().await.unwrap();
    emulator.set_script("s3 logs", Script::success().with_pace(Pace::Manual));
    let server = serving(&emulator, folder.path()).await;
    let mut request = create_request_for("40_executor_first_attempt", &emulator.https_host());
    let template = request.template.as_mut().unwrap();
    let mut custom = value::json_from_struct(template.custom.as_ref().unwrap()).unwrap();
    custom.insert(
        "databricksConf".to_owned(),
        json!({"run_name": "s3 logs", "new_cluster": {
            "spark_version": "15.4.x-scala2.12", "node_type_id": "m", "num_workers": 1,
            "cluster_log_conf": {"s3": {"destination": format!("s3://{BUCKET}/cluster logs/"), "region": "eu-west-1"}}}}),
    );
    template.custom = Some(value::struct_from_json(&custom));
    request.connection = None;
    let meta = server.tasks().create_task(request).await.unwrap().into_inner().resource_meta;
    let run_id = emulator.runs()[0].run_id;
    emulator.advance(run_id);
    emulator.advance(run_id);
    let task = emulator.submissions()[0]["tasks"][0]["task_key"].as_str().unwrap().to_owned();
    let driver = emulator.log_folder(run_id, &task).unwrap();
    let driver = Path::parse(driver.strip_prefix(&format!("s3://{BUCKET}/")).unwrap()).unwrap();

    let bucket = bucket();
    let (stdout, mut growing, mut rotations) = (driver.clone().join("stdout"), String::new(), 0);
    let (mut written, mut seen, mut token) = (String::new(), String::new(), String::new());
    for n in 0..30_000 {
        writeln!(growing, "line {n} of a log in a bucket").unwrap();
        writeln!(written, "line {n} of a log in a bucket").unwrap();
        if n % 1_500 == 1_499 {
            bucket.put(&stdout, growing.clone().into()).await.unwrap();
            let next = page(&server, &meta, token).await;
            seen.push_str(&next.0);
            token = next.1.unwrap();
        }
        if n % 6_000 == 5_999 {
            // S3 cannot rename: the rotated file is written first, then the old one is replaced.
            let name = format!("stdout--2026-11-23--{rotations:02}-00");
            bucket.put(&driver.clone().join(name), growing.clone().into()).await.unwrap();
            rotations += 1;
            let next = page(&server, &meta, token).await;
            seen.push_str(&next.0);
            token = next.1.unwrap();
            growing.clear();
            bucket.put(&stdout, growing.clone().into()).await.unwrap();
        }
    }
    bucket.put(&driver.clone().join("stderr"), "a word on stderr".into()).await.unwrap();
    emulator.advance(run_id);
    let mut pages = 0;
    loop {
        let (text, next) = page(&server, &meta, token).await;
        seen.push_str(&text);
        pages += 1;
        assert!(pages < 100, "the log has no end");
        match next {
            Some(next) => token = next,
            None => break,
        }
    }
    assert_eq!(seen.lines().count(), 30_001);
    // The streams are read in turn, so the position of the line from stderr is not fixed.
    let of_stdout = seen.replacen("a word on stderr\n", "", 1);
    assert!(of_stdout == written, "a line was lost or repeated");
    assert!(!emulator.requests().iter().any(|request| request.path.contains("get-output")));
}
