//! Memory of the binary while many clients read long logs.
#![cfg(target_os = "linux")]

use connector_core::value;
use databricks_emulator::{Emulator, Pace, Script};
use flyteidl2::{
    connector::{GetTaskLogsRequest, get_task_logs_response::Part},
    logs::dataplane::LogLineOriginator,
};
use futures_util::future;
use serde_json::{Value, json};

use crate::{fixtures::create_request_for, process::ServerProcess, workspace::task_category};

const READERS: usize = 12;

/// Returns a line of 100 bytes.
fn line(n: usize) -> String {
    format!("{n:099}\n")
}

/// Lets many clients read a run's log concurrently, page by page. Returns the server's peak memory in MiB.
async fn peak_memory(
    conf: Value,
    script: Script,
    deliver: impl FnOnce(&Emulator),
    lines: usize,
) -> u64 {
    let emulator = Emulator::builder().token("dapi-DATABRICKS_TOKEN").start().await.unwrap();
    emulator.set_script(conf["run_name"].as_str().unwrap(), script.with_pace(Pace::Manual));
    let (process, log) = ServerProcess::start_for_local_workspaces("--reads-per-second 1000")
        .read_log_in_background();
    let mut request = create_request_for("01_new_cluster", &emulator.http_url());
    let template = request.template.as_mut().unwrap();
    let mut custom = value::json_from_struct(template.custom.as_ref().unwrap()).unwrap();
    custom.insert("databricksConf".to_owned(), conf);
    template.custom = Some(value::struct_from_json(&custom));
    let meta = process.tasks().await.create_task(request).await.unwrap().into_inner().resource_meta;
    let run_id = emulator.runs()[0].run_id;
    emulator.advance(run_id);
    emulator.advance(run_id);
    deliver(&emulator);
    emulator.advance(run_id);
    let read = || async {
        let mut tasks = process.tasks().await;
        let (mut next, mut token) = (0, Some(String::new()));
        while let Some(from) = token.take() {
            let request = GetTaskLogsRequest {
                resource_meta: meta.clone(),
                task_category: Some(task_category()),
                lines: 10_000,
                token: from,
            };
            let mut stream = tasks.get_task_logs(request).await.unwrap().into_inner();
            while let Some(message) = stream.message().await.unwrap() {
                match message.part.unwrap() {
                    Part::Header(header) => token = Some(header.token),
                    Part::Body(body) => {
                        for found in body.lines {
                            if found.originator() == LogLineOriginator::User {
                                assert_eq!(found.message, line(next));
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
    let peak = process.peak_memory();
    drop(process);
    log.join().unwrap();
    peak
}

fn text(lines: usize) -> String {
    (0..lines).map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn long_delivered_log_is_streamed() {
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
    let peak = Box::pin(peak_memory(conf, Script::success(), deliver, LINES)).await;
    println!("{READERS} readers of 40 MB: {peak} MiB");
    // If each reader's call held the whole log, it would be 480 MB.
    assert!(peak < 250, "{peak} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn task_output_takes_little_more_memory_than_its_size_per_reader() {
    const LINES: usize = 48_000;
    let conf = json!({"run_name": "output", "existing_cluster_id": "c"});
    let script = Script::success().with_logs(text(LINES));
    let peak = Box::pin(peak_memory(conf, script, |_| (), LINES)).await;
    println!("{READERS} readers of 5 MB: {peak} MiB");
    assert!(peak < 300, "{peak} MiB");
}
