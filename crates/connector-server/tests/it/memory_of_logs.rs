//! The memory of the real binary while many read long logs.
#![cfg(target_os = "linux")]

use connector_core::value;
use databricks_emulator::{Emulator, Pace, Script};
use flyteidl2::{
    connector::{GetTaskLogsRequest, TaskCategory, get_task_logs_response::Part},
    logs::dataplane::LogLineOriginator,
};
use futures_util::future;
use serde_json::{Value, json};

use crate::{
    databricks::{captured, pointed_at},
    gated::Gated,
};

const READERS: usize = 12;

/// A line of 100 bytes.
fn line(n: usize) -> String {
    format!("{n:099}\n")
}

/// The log of a run, as many readers read it at once, page by page; and the most memory that the server took, in MiB.
async fn most_memory(
    conf: Value,
    script: Script,
    deliver: impl FnOnce(&Emulator),
    lines: usize,
) -> u64 {
    let emulator = Emulator::builder().token("dapi-DATABRICKS_TOKEN").start().await.unwrap();
    emulator.set_script(conf["run_name"].as_str().unwrap(), script.with_pace(Pace::Manual));
    let (serving, log) = Gated::served("--reads-per-second 1000").reading();
    let mut request = pointed_at(captured("01_new_cluster"), &emulator.http_url());
    let template = request.template.as_mut().unwrap();
    let mut custom = value::json_from_struct(template.custom.as_ref().unwrap()).unwrap();
    custom.insert("databricksConf".to_owned(), conf);
    template.custom = Some(value::struct_from_json(&custom));
    let meta = serving.tasks().await.create_task(request).await.unwrap().into_inner().resource_meta;
    let run_id = emulator.runs()[0].run_id;
    emulator.advance(run_id);
    emulator.advance(run_id);
    deliver(&emulator);
    emulator.advance(run_id);
    let read = || async {
        let mut tasks = serving.tasks().await;
        let (mut next, mut token) = (0, Some(String::new()));
        while let Some(from) = token.take() {
            let request = GetTaskLogsRequest {
                resource_meta: meta.clone(),
                task_category: Some(TaskCategory { name: "databricks".to_owned(), version: 0 }),
                lines: 10_000,
                token: from,
            };
            let mut stream = tasks.get_task_logs(request).await.unwrap().into_inner();
            while let Some(message) = stream.message().await.unwrap() {
                match message.part.unwrap() {
                    Part::Header(header) => token = Some(header.token),
                    Part::Body(body) => {
                        for told in body.lines {
                            if told.originator() == LogLineOriginator::User {
                                assert_eq!(told.message, line(next));
                                next += 1;
                            }
                        }
                    }
                }
            }
        }
        assert_eq!(next, lines);
    };
    future::join_all((0..READERS).map(|_| Box::pin(read()))).await;
    let most = serving.most_memory();
    drop(serving);
    log.join().unwrap();
    most
}

fn text(lines: usize) -> String {
    (0..lines).map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_delivered_log_is_never_held_whole() {
    const LINES: usize = 400_000;
    let conf = json!({"run_name": "delivered", "new_cluster": {
        "spark_version": "15.4.x-scala2.12", "node_type_id": "m", "num_workers": 1,
        "cluster_log_conf": {"dbfs": {"destination": "dbfs:/logs"}}}});
    let deliver = |emulator: &Emulator| {
        let run_id = emulator.runs()[0].run_id;
        let task = emulator.submissions()[0]["tasks"][0]["task_key"].as_str().unwrap().to_owned();
        let folder = emulator.log_folder(run_id, &task).unwrap();
        emulator.append_file(&format!("{folder}/stdout"), text(LINES));
    };
    let most = Box::pin(most_memory(conf, Script::success(), deliver, LINES)).await;
    println!("{READERS} readers of 40 MB: {most} MiB");
    // Held by all of them, it would be 480 MB.
    assert!(most < 250, "{most} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_a_task_costs_each_reader_little_more_than_its_size() {
    const LINES: usize = 48_000;
    let conf = json!({"run_name": "output", "existing_cluster_id": "c"});
    let script = Script::success().with_logs(text(LINES));
    let most = Box::pin(most_memory(conf, script, |_| (), LINES)).await;
    println!("{READERS} readers of 5 MB: {most} MiB");
    assert!(most < 300, "{most} MiB");
}
