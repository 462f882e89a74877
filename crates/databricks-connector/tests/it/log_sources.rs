//! Where the lines of a log come from: every destination, and what is told when one cannot be read.

use std::sync::Arc;

use databricks_connector::{
    Config, LogFile, LogFiles, LogReading, Looking, ObjectStores, S3Folder,
};
use databricks_emulator::{CannedResponse, Endpoint, Pace, Script};
use serde_json::json;

use crate::{
    logs::{Reading, delivering, systems, users, world},
    setup::World,
};

/// `s3://bucket/…` as files below a folder of this machine.
#[derive(Debug)]
struct OnDisk(ObjectStores, String);

impl OnDisk {
    fn folder(&self, folder: &S3Folder) -> S3Folder {
        S3Folder { url: folder.url.replace("s3://bucket", &self.1), region: folder.region.clone() }
    }
}

impl LogFiles for OnDisk {
    fn list<'a>(&'a self, folder: &'a S3Folder) -> Looking<'a, Vec<LogFile>> {
        Box::pin(async move { self.0.list(&self.folder(folder)).await })
    }

    fn read_part<'a>(
        &'a self,
        folder: &'a S3Folder,
        name: &'a str,
        offset: u64,
        length: usize,
    ) -> Looking<'a, Vec<u8>> {
        Box::pin(async move { self.0.read_part(&self.folder(folder), name, offset, length).await })
    }
}

fn user_lines(lines: &[connector_core::LogLine]) -> Vec<String> {
    users(lines).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn delivered_logs_are_read_while_the_run_is_running_and_rotation_loses_nothing() {
    for (conf, name) in [
        (json!({"dbfs": {"destination": "dbfs:/logs/"}}), "dbfs"),
        (json!({"volumes": {"destination": "/Volumes/c/s/v/logs of mine"}}), "volumes"),
    ] {
        let world = world().await;
        let script = Script::failed("E", "").with_logs("not this\n");
        let (run, run_id, folder) = delivering(&world, script, conf).await;
        let (stdout, stderr) = (format!("{folder}/stdout"), format!("{folder}/stderr"));
        let mut reading = Reading::of(run);
        let mut seen = Vec::new();
        // Nothing was delivered so far.
        seen.extend(user_lines(&reading.page(&world, 0).await.0));
        assert!(seen.is_empty(), "{name}");
        world.emulator.append_file(&stdout, "one\ntw");
        world.emulator.append_file(&stderr, "err 1\n");
        world.emulator.put_file(&format!("{folder}/log4j-active.log"), "not this");
        seen.extend(user_lines(&reading.page(&world, 0).await.0));
        assert_eq!(seen, ["one\n", "err 1\n"], "{name}");
        world.emulator.append_file(&stdout, "o\nthree\n");
        world.emulator.rename_file(&stdout, &format!("{stdout}--2026-11-23--15-00"));
        world.emulator.append_file(&stdout, "four\n");
        seen.extend(user_lines(&reading.page(&world, 0).await.0));
        world.emulator.append_file(&stdout, "five ü");
        world.emulator.advance(run_id);
        seen.extend(user_lines(&reading.rest(&world, 0).await));
        let all = ["one\n", "err 1\n", "two\n", "three\n", "four\n", "five ü\n", "E\n"];
        assert_eq!(seen, all, "{name}");
        // A reader who comes late reads one stream after the other.
        let late = Reading::of(reading.run).rest(&world, 2).await;
        let all = ["one\n", "two\n", "three\n", "four\n", "five ü\n", "err 1\n", "E\n"];
        assert_eq!(user_lines(&late), all, "{name}");
    }
}

#[tokio::test]
async fn logs_in_a_bucket_are_read_by_place() {
    let disk = tempfile::tempdir().unwrap();
    let files = OnDisk(ObjectStores::new(), format!("file://{}", disk.path().display()));
    let world = World::with(|config| Config {
        logs: LogReading {
            files: Arc::new(files),
            pause: std::time::Duration::ZERO,
            ..LogReading::default()
        },
        ..config
    })
    .await;
    let conf = json!({"s3": {"destination": "s3://bucket/logs", "region": "eu-west-1"}});
    let (run, run_id, folder) = delivering(&world, Script::success(), conf).await;
    let folder = disk.path().join(folder.strip_prefix("s3://bucket/").unwrap());
    let mut reading = Reading::of(run);
    let (lines, more) = reading.page(&world, 0).await;
    assert!(users(&lines).is_empty() && more);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("stdout"), "one\ntwo\nthr").unwrap();
    let mut seen = user_lines(&reading.page(&world, 0).await.0);
    std::fs::rename(folder.join("stdout"), folder.join("stdout--2026-11-23--15-00")).unwrap();
    std::fs::write(folder.join("stdout"), "ee\nfour\n").unwrap();
    std::fs::write(folder.join("stderr"), "err\n").unwrap();
    world.emulator.advance(run_id);
    seen.extend(user_lines(&reading.rest(&world, 0).await));
    // The rotation cut a line in two.
    assert_eq!(seen, ["one\n", "two\n", "thr", "ee\n", "four\n", "err\n"]);
}

#[tokio::test]
async fn a_copy_that_is_delivered_before_its_rotation_is_not_told_twice() {
    let world = world().await;
    let conf = json!({"volumes": {"destination": "/Volumes/c/s/v"}});
    let (run, run_id, folder) = delivering(&world, Script::success(), conf).await;
    let (stdout, rotated) =
        (format!("{folder}/stdout"), format!("{folder}/stdout--2026-11-23--15-00"));
    let mut reading = Reading::of(run);
    world.emulator.put_file(&stdout, "one\n");
    let mut seen = user_lines(&reading.page(&world, 0).await.0);
    // The rotated file is there, and what it was made of too.
    world.emulator.put_file(&rotated, "one\ntwo\n");
    seen.extend(user_lines(&reading.page(&world, 0).await.0));
    seen.extend(user_lines(&reading.page(&world, 0).await.0));
    assert_eq!(seen, ["one\n", "two\n"]);
    // Now the new one, and in the other order: the new file first.
    world.emulator.put_file(&stdout, "three\nfour\n");
    seen.extend(user_lines(&reading.page(&world, 0).await.0));
    world.emulator.put_file(&stdout, "six and more than there was\n");
    seen.extend(user_lines(&reading.page(&world, 0).await.0));
    assert_eq!(seen.len(), 4, "{seen:?}");
    world.emulator.put_file(&format!("{folder}/stdout--2026-11-23--16-00"), "three\nfour\nfive\n");
    world.emulator.advance(run_id);
    seen.extend(user_lines(&reading.rest(&world, 0).await));
    assert_eq!(seen[2..], ["three\n", "four\n", "five\n", "six and more than there was\n"]);
}

#[tokio::test]
async fn what_is_delivered_after_the_end_is_waited_for() {
    let world = world().await;
    let script = Script { late_logs: true, ..Script::failed("E", "") };
    let conf = json!({"dbfs": {"destination": "dbfs:/logs"}});
    let (run, run_id, folder) = delivering(&world, script, conf).await;
    world.emulator.append_file(&format!("{folder}/stdout"), "one\n");
    world.emulator.advance(run_id);
    let mut reading = Reading::of(run);
    let (lines, more) = reading.page(&world, 0).await;
    assert_eq!((users(&lines), more), (vec!["one\n"], true));
    world.emulator.append_file(&format!("{folder}/stdout"), "two\n");
    let (lines, more) = reading.page(&world, 0).await;
    assert_eq!((users(&lines), more), (vec!["two\n"], true));
}

#[tokio::test]
async fn logs_that_may_not_be_read_are_said_once_and_the_output_is_told_instead() {
    let world = world().await;
    let script = Script::success().with_logs("from the output\n");
    let conf = json!({"dbfs": {"destination": "dbfs:/logs"}});
    let (run, run_id, folder) = delivering(&world, script, conf).await;
    world.emulator.append_file(&format!("{folder}/stdout"), "from the file\n");
    let refusal = json!({"error_code": "PERMISSION_DENIED", "message": "no"}).to_string();
    world.emulator.answer_next(Endpoint::DbfsList, CannedResponse::json(403, refusal), 1);
    world.emulator.advance(run_id);
    let all = Reading::of(run).rest(&world, 0).await;
    assert_eq!(users(&all), ["from the output\n"]);
    let told = systems(&all).into_iter().filter(|line| line.contains("cannot be read"));
    assert_eq!(told.count(), 1);
}

#[tokio::test]
async fn logs_that_were_never_delivered_are_told_from_the_output() {
    let world = world().await;
    let script = Script::success().with_logs("from the output\n");
    let conf = json!({"dbfs": {"destination": "dbfs:/logs"}});
    let (run, run_id, _) = delivering(&world, script, conf).await;
    world.emulator.advance(run_id);
    assert_eq!(users(&Reading::of(run).rest(&world, 0).await), ["from the output\n"]);
}

#[tokio::test]
async fn the_logs_of_a_cluster_that_outlives_the_run_are_never_read() {
    let world = world().await;
    world
        .emulator
        .set_script("scripted", Script::success().with_logs("mine\n").with_pace(Pace::PerPoll(1)));
    let conf = json!({"run_name": "scripted", "existing_cluster_id": "0801-120000-abcdefgh", "new_cluster": null});
    let request = world.request("40_executor_first_attempt", conf);
    let run = connector_core::Connector::create(&world.connector, request).await.unwrap();
    assert_eq!(users(&Reading::of(run).rest(&world, 0).await), ["mine\n"]);
    let paths: Vec<String> =
        world.emulator.requests().into_iter().map(|request| request.path).collect();
    assert!(
        !paths.iter().any(|path| path.contains("dbfs") || path.contains("events")),
        "{paths:?}"
    );
}
