//! Memory of the binary under responses of a workspace that are small on the wire and large once parsed.
#![cfg(target_os = "linux")]

use databricks_emulator::{CannedResponse, Emulator, Endpoint};
use flyteidl2::{
    connector::{GetTaskLogsRequest, GetTaskRequest},
    core::task_execution::Phase,
};

use crate::{fixtures::create_request_for, process::ServerProcess, workspace::task_category};

const ENDED: &str =
    r#""status": {"state": "TERMINATED", "termination_details": {"code": "INTERNAL_ERROR"}}"#;

/// Returns a body of this size whose `list` has as many elements as fit.
fn elements(list: &str, element: &str, bytes: usize, rest: &str) -> CannedResponse {
    let elements = vec![element; bytes / (element.len() + 1)].join(",");
    CannedResponse::json(200, format!("{{\"{list}\": [{elements}], {rest}}}"))
}

/// Polls a run whose workspace answers so until it has ended, and reads a page of its log. Returns the message of the end
/// and the server's peak memory in MiB.
async fn end(responses: &[(Endpoint, CannedResponse, u32)]) -> (String, u64) {
    let emulator = Emulator::builder().token("dapi-DATABRICKS_TOKEN").start().await.unwrap();
    let (process, log) = ServerProcess::start_for_local_workspaces("--reads-per-second 1000")
        .read_log_in_background();
    let request = create_request_for("01_new_cluster", &emulator.http_url());
    let connection = request.connection.clone();
    let resource_meta =
        process.tasks().await.create_task(request).await.unwrap().into_inner().resource_meta;
    for (endpoint, response, times) in responses {
        emulator.answer_next(*endpoint, response.clone(), *times);
    }
    let mut message = None;
    for _ in 0..4 {
        let poll = GetTaskRequest {
            resource_meta: resource_meta.clone(),
            task_category: Some(task_category()),
            connection: connection.clone(),
            ..GetTaskRequest::default()
        };
        let resource = process.tasks().await.get_task(poll).await.unwrap().into_inner().resource;
        let resource = resource.unwrap();
        if resource.phase() == Phase::RetryableFailed {
            message = Some(resource.message);
            break;
        }
    }
    let logs = GetTaskLogsRequest {
        resource_meta,
        task_category: Some(task_category()),
        ..GetTaskLogsRequest::default()
    };
    let mut stream = process.tasks().await.get_task_logs(logs).await.unwrap().into_inner();
    while stream.message().await.unwrap().is_some() {}
    let peak = process.peak_memory();
    drop(process);
    log.join().unwrap();
    (message.expect("the task has ended"), peak)
}

#[tokio::test(flavor = "multi_thread")]
async fn millions_of_elements_take_bounded_memory_and_the_state_is_kept() {
    const MIB: usize = 1024 * 1024;
    let tasks = elements("tasks", "{}", 4 * MIB, ENDED);
    let page = |next: &str| {
        elements("tasks", "{}", 586 * 1024, &format!("{ENDED}, \"next_page_token\": \"{next}\""))
    };
    let dependencies = elements("tasks", r#"{"depends_on": [{},{},{},{}]}"#, 2 * MIB, ENDED);
    let mut pages: Vec<_> =
        (0..20).map(|n| (Endpoint::GetRun, page(&format!("p{n}")), 1)).collect();
    pages.push((Endpoint::GetRun, page(""), 1_000));
    for (name, responses) in [
        ("4 MiB of tasks", vec![(Endpoint::GetRun, tasks, 1_000)]),
        ("2 MiB of dependencies", vec![(Endpoint::GetRun, dependencies, 1_000)]),
        ("pages of 586 KiB", pages),
    ] {
        let (message, peak) = Box::pin(end(&responses)).await;
        println!("{name}: {peak} MiB");
        assert!(message.contains("too many tasks"), "{name}: {message}");
        assert!(peak < 200, "{name}: {peak} MiB");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn millions_of_elements_in_an_output_or_a_cluster_take_bounded_memory() {
    const MIB: usize = 1024 * 1024;
    let run = r#"{"tasks": [{"task_key": "a", "run_id": 11, "cluster_instance": {"cluster_id": "c"},
        "state": {"life_cycle_state": "TERMINATED", "result_state": "FAILED"}}],
        "state": {"life_cycle_state": "INTERNAL_ERROR", "result_state": "FAILED"}}"#;
    let run = CannedResponse::json(200, run);
    let rows = vec![r#"{"values":[{}]}"#; 4 * MIB / 16].join(",");
    let rows = format!(
        r#"{{"error": "E", "sql_output": {{"file_output": {{"query_result": {{"rows": [{rows}]}}}}}}}}"#
    );
    for (name, responses) in [
        (
            "4 MiB of rows",
            vec![
                (Endpoint::GetRun, run.clone(), 1_000),
                (Endpoint::GetRunOutput, CannedResponse::json(200, rows), 1_000),
            ],
        ),
        (
            "4 MiB of executors",
            vec![
                (Endpoint::GetRun, run, 1_000),
                (
                    Endpoint::GetCluster,
                    elements("executors", "{}", 4 * MIB, r#""state": "RUNNING""#),
                    1_000,
                ),
            ],
        ),
    ] {
        let (_, peak) = Box::pin(end(&responses)).await;
        println!("{name}: {peak} MiB");
        assert!(peak < 200, "{name}: {peak} MiB");
    }
}
