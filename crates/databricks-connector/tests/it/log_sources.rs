//! The sources of log lines: every destination, and the fallback for an unreadable one.

use std::sync::Arc;

use databricks_connector::{
    Config, LogFile, LogOptions, LogStorage, ObjectStores, S3Folder, StorageFuture,
};
use databricks_emulator::{CannedResponse, Endpoint, Pace, Script};
use serde_json::json;

use crate::{
    harness::Harness,
    logs::{LogReader, delivering, start, systems, users},
};

/// Maps `s3://bucket/…` to a local folder.
#[derive(Debug)]
struct OnDisk(ObjectStores, String);

impl OnDisk {
    fn folder(&self, folder: &S3Folder) -> S3Folder {
        S3Folder { url: folder.url.replace("s3://bucket", &self.1), region: folder.region.clone() }
    }
}

impl LogStorage for OnDisk {
    fn list<'a>(&'a self, folder: &'a S3Folder) -> StorageFuture<'a, Vec<LogFile>> {
        Box::pin(async move { self.0.list(&self.folder(folder)).await })
    }

    fn read_range<'a>(
        &'a self,
        folder: &'a S3Folder,
        name: &'a str,
        offset: u64,
        length: usize,
    ) -> StorageFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move { self.0.read_range(&self.folder(folder), name, offset, length).await })
    }
}

fn user_lines(lines: &[connector_core::LogLine]) -> Vec<String> {
    users(lines).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn delivered_logs_of_an_active_run_survive_rotation() {
    for (conf, name) in [
        (json!({"dbfs": {"destination": "dbfs:/logs/"}}), "dbfs"),
        (json!({"volumes": {"destination": "/Volumes/c/s/v/logs of mine"}}), "volumes"),
    ] {
        let harness = start().await;
        let script = Script::failed("E", "").with_logs("not this\n");
        let (run, run_id, folder) = delivering(&harness, script, conf).await;
        let (stdout, stderr) = (format!("{folder}/stdout"), format!("{folder}/stderr"));
        let mut reader = LogReader::new(run);
        let mut seen = Vec::new();
        // Nothing has been delivered yet.
        seen.extend(user_lines(&reader.page(&harness, 0).await.0));
        assert!(seen.is_empty(), "{name}");
        harness.emulator.append_file(&stdout, "one\ntw");
        harness.emulator.append_file(&stderr, "err 1\n");
        harness.emulator.put_file(&format!("{folder}/log4j-active.log"), "not this");
        seen.extend(user_lines(&reader.page(&harness, 0).await.0));
        assert_eq!(seen, ["one\n", "err 1\n"], "{name}");
        harness.emulator.append_file(&stdout, "o\nthree\n");
        harness.emulator.rename_file(&stdout, &format!("{stdout}--2026-11-23--15-00"));
        harness.emulator.append_file(&stdout, "four\n");
        seen.extend(user_lines(&reader.page(&harness, 0).await.0));
        harness.emulator.append_file(&stdout, "five ü");
        harness.emulator.advance(run_id);
        seen.extend(user_lines(&reader.rest(&harness, 0).await));
        let all = ["one\n", "err 1\n", "two\n", "three\n", "four\n", "five ü\n", "E\n"];
        assert_eq!(seen, all, "{name}");
        // After the end, the streams are read one after the other.
        let late = LogReader::new(reader.run).rest(&harness, 2).await;
        let all = ["one\n", "two\n", "three\n", "four\n", "five ü\n", "err 1\n", "E\n"];
        assert_eq!(user_lines(&late), all, "{name}");
    }
}

#[tokio::test]
async fn logs_in_a_bucket_are_read_incrementally() {
    let disk = tempfile::tempdir().unwrap();
    let files = OnDisk(ObjectStores::new(), format!("file://{}", disk.path().display()));
    let harness = Harness::with(|config| Config {
        logs: LogOptions {
            storage: Arc::new(files),
            empty_page_delay: std::time::Duration::ZERO,
            ..LogOptions::default()
        },
        ..config
    })
    .await;
    let conf = json!({"s3": {"destination": "s3://bucket/logs", "region": "eu-west-1"}});
    let (run, run_id, folder) = delivering(&harness, Script::success(), conf).await;
    let folder = disk.path().join(folder.strip_prefix("s3://bucket/").unwrap());
    let mut reader = LogReader::new(run);
    let (lines, more) = reader.page(&harness, 0).await;
    assert!(users(&lines).is_empty() && more);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("stdout"), "one\ntwo\nthr").unwrap();
    let mut seen = user_lines(&reader.page(&harness, 0).await.0);
    std::fs::rename(folder.join("stdout"), folder.join("stdout--2026-11-23--15-00")).unwrap();
    std::fs::write(folder.join("stdout"), "ee\nfour\n").unwrap();
    std::fs::write(folder.join("stderr"), "err\n").unwrap();
    harness.emulator.advance(run_id);
    seen.extend(user_lines(&reader.rest(&harness, 0).await));
    // The rotation split a line.
    assert_eq!(seen, ["one\n", "two\n", "thr", "ee\n", "four\n", "err\n"]);
}

#[tokio::test]
async fn rotated_copy_of_the_active_file_is_not_read_twice() {
    let harness = start().await;
    let conf = json!({"volumes": {"destination": "/Volumes/c/s/v"}});
    let (run, run_id, folder) = delivering(&harness, Script::success(), conf).await;
    let (stdout, rotated) =
        (format!("{folder}/stdout"), format!("{folder}/stdout--2026-11-23--15-00"));
    let mut reader = LogReader::new(run);
    harness.emulator.put_file(&stdout, "one\n");
    let mut seen = user_lines(&reader.page(&harness, 0).await.0);
    // The rotated copy and its original exist at the same time.
    harness.emulator.put_file(&rotated, "one\ntwo\n");
    seen.extend(user_lines(&reader.page(&harness, 0).await.0));
    seen.extend(user_lines(&reader.page(&harness, 0).await.0));
    assert_eq!(seen, ["one\n", "two\n"]);
    // Then the new active file, delivered before the next rotated copy.
    harness.emulator.put_file(&stdout, "three\nfour\n");
    seen.extend(user_lines(&reader.page(&harness, 0).await.0));
    harness.emulator.put_file(&stdout, "six and more than there was\n");
    seen.extend(user_lines(&reader.page(&harness, 0).await.0));
    assert_eq!(seen.len(), 4, "{seen:?}");
    harness
        .emulator
        .put_file(&format!("{folder}/stdout--2026-11-23--16-00"), "three\nfour\nfive\n");
    harness.emulator.advance(run_id);
    seen.extend(user_lines(&reader.rest(&harness, 0).await));
    assert_eq!(seen[2..], ["three\n", "four\n", "five\n", "six and more than there was\n"]);
}

#[tokio::test]
async fn log_stays_open_until_the_last_delivery() {
    let harness = start().await;
    let script = Script { late_logs: true, ..Script::failed("E", "") };
    let conf = json!({"dbfs": {"destination": "dbfs:/logs"}});
    let (run, run_id, folder) = delivering(&harness, script, conf).await;
    harness.emulator.append_file(&format!("{folder}/stdout"), "one\n");
    harness.emulator.advance(run_id);
    let mut reader = LogReader::new(run);
    let (lines, more) = reader.page(&harness, 0).await;
    assert_eq!((users(&lines), more), (vec!["one\n"], true));
    harness.emulator.append_file(&format!("{folder}/stdout"), "two\n");
    let (lines, more) = reader.page(&harness, 0).await;
    assert_eq!((users(&lines), more), (vec!["two\n"], true));
}

#[tokio::test]
async fn unreadable_logs_are_reported_once_and_replaced_by_the_output() {
    let harness = start().await;
    let script = Script::success().with_logs("from the output\n");
    let conf = json!({"dbfs": {"destination": "dbfs:/logs"}});
    let (run, run_id, folder) = delivering(&harness, script, conf).await;
    harness.emulator.append_file(&format!("{folder}/stdout"), "from the file\n");
    let refusal = json!({"error_code": "PERMISSION_DENIED", "message": "no"}).to_string();
    harness.emulator.answer_next(Endpoint::DbfsList, CannedResponse::json(403, refusal), 1);
    harness.emulator.advance(run_id);
    let all = LogReader::new(run).rest(&harness, 0).await;
    assert_eq!(users(&all), ["from the output\n"]);
    let reports = systems(&all).into_iter().filter(|line| line.contains("cannot be read"));
    assert_eq!(reports.count(), 1);
}

#[tokio::test]
async fn output_replaces_logs_that_were_never_delivered() {
    let harness = start().await;
    let script = Script::success().with_logs("from the output\n");
    let conf = json!({"dbfs": {"destination": "dbfs:/logs"}});
    let (run, run_id, _) = delivering(&harness, script, conf).await;
    harness.emulator.advance(run_id);
    assert_eq!(users(&LogReader::new(run).rest(&harness, 0).await), ["from the output\n"]);
}

#[tokio::test]
async fn logs_of_an_existing_cluster_are_never_read() {
    let harness = start().await;
    harness
        .emulator
        .set_script("scripted", Script::success().with_logs("mine\n").with_pace(Pace::PerPoll(1)));
    let conf = json!({"run_name": "scripted", "existing_cluster_id": "0801-120000-abcdefgh", "new_cluster": null});
    let request = harness.request("40_executor_first_attempt", conf);
    let run = connector_core::Connector::create(&harness.connector, request).await.unwrap();
    assert_eq!(users(&LogReader::new(run).rest(&harness, 0).await), ["mine\n"]);
    let paths: Vec<String> =
        harness.emulator.requests().into_iter().map(|request| request.path).collect();
    assert!(
        !paths.iter().any(|path| path.contains("dbfs") || path.contains("events")),
        "{paths:?}"
    );
}
