//! The states and outcomes of runs.

use crate::client::{Client, emulator, named, python_task};
use databricks_emulator::{
    Emulator, LifeCycle, Outcome, Pace, Script, StateForm, Step, TaskScript, Termination,
};
use serde_json::{Value, json};
use std::time::Duration;

fn states(run: &Value) -> (&str, &str) {
    (run["state"]["life_cycle_state"].as_str().unwrap(), run["status"]["state"].as_str().unwrap())
}

#[tokio::test]
async fn run_moves_one_step_per_poll_and_succeeds() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    emulator.set_script("etl", Script::success().with_logs("42\n"));
    let run_id = client.submit(&named("etl")).await;

    let queued = client.run(run_id).await;
    assert_eq!(states(&queued), ("QUEUED", "QUEUED"));
    assert_eq!(queued["status"]["queue_details"]["code"], "ACTIVE_RUNS_LIMIT_REACHED");
    assert_eq!(queued["state"]["queue_reason"], queued["status"]["queue_details"]["message"]);
    assert_eq!(queued["end_time"], 0);
    assert_eq!(queued["tasks"][0].get("cluster_instance"), None);

    let pending = client.run(run_id).await;
    assert_eq!(states(&pending), ("PENDING", "PENDING"));
    let instance = &pending["tasks"][0]["cluster_instance"];
    assert!(instance["cluster_id"].is_string() && instance.get("spark_context_id").is_none());

    let running = client.run(run_id).await;
    assert_eq!(states(&running), ("RUNNING", "RUNNING"));
    assert!(running["tasks"][0]["cluster_instance"]["spark_context_id"].is_string());
    assert_eq!(running["state"].get("result_state"), None);

    let ended = client.run(run_id).await;
    assert_eq!(states(&ended), ("TERMINATED", "TERMINATED"));
    assert_eq!(ended["state"]["result_state"], "SUCCESS");
    assert_eq!(ended["status"]["termination_details"]["code"], "SUCCESS");
    assert_eq!(ended["run_type"], "SUBMIT_RUN");
    assert_eq!(ended["tasks"][0]["attempt_number"], 0);
    assert_eq!(ended["tasks"][0]["spark_python_task"]["python_file"], "dbfs:/a.py");
    let length = ended["end_time"].as_i64().unwrap() - ended["start_time"].as_i64().unwrap();
    assert_eq!(ended["run_duration"], length);
    let host = emulator.http_url().replace("http://", "");
    let page = format!("https://{host}/?o=6280049833385130#job/{}/run/{run_id}", ended["job_id"]);
    assert_eq!(ended["run_page_url"], page);

    let (_, output) = client.output(ended["tasks"][0]["run_id"].as_i64().unwrap()).await;
    assert_eq!(
        (output["logs"].as_str(), output["logs_truncated"].as_bool()),
        (Some("42\n"), Some(false))
    );
    assert_eq!(output["metadata"]["job_run_id"], run_id);
    assert_eq!(output.get("error"), None);
}

#[tokio::test]
async fn failed_user_code_is_an_internal_error_of_the_run() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    emulator.set_script("etl", Script::failed("ValueError: x", "Traceback\n  boom"));
    let run = client.ended_run(client.submit(&named("etl")).await).await;

    assert_eq!(states(&run), ("INTERNAL_ERROR", "TERMINATED"));
    assert_eq!(run["state"]["result_state"], "FAILED");
    assert!(
        run["state"]["state_message"]
            .as_str()
            .unwrap()
            .starts_with("Task main failed with message: ")
    );
    let details = &run["status"]["termination_details"];
    assert_eq!(
        (&details["code"], &details["type"]),
        (&json!("RUN_EXECUTION_ERROR"), &json!("CLIENT_ERROR"))
    );

    let task = &run["tasks"][0];
    assert_eq!(states(task), ("TERMINATED", "TERMINATED"));
    assert_eq!(task["state"]["result_state"], "FAILED");
    let (_, output) = client.output(task["run_id"].as_i64().unwrap()).await;
    assert_eq!(
        (&output["error"], &output["error_trace"]),
        (&json!("ValueError: x"), &json!("Traceback\n  boom"))
    );
}

#[tokio::test]
async fn cancelled_run_is_terminating_for_one_step() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let run_id = client.submit(&named("etl")).await;
    client.run(run_id).await;
    assert_eq!(client.cancel(run_id).await, (reqwest::StatusCode::OK, json!({})));

    let terminating = client.run(run_id).await;
    assert_eq!(states(&terminating), ("TERMINATING", "TERMINATING"));
    assert_eq!(terminating["status"]["termination_details"]["code"], "USER_CANCELED");
    let ended = client.run(run_id).await;
    assert_eq!(states(&ended), ("TERMINATED", "TERMINATED"));
    assert_eq!(ended["state"]["result_state"], "CANCELED");
    assert_eq!(ended["state"]["user_cancelled_or_timedout"], true);
    assert_eq!(ended["status"]["termination_details"]["type"], "SUCCESS");
    assert!(emulator.run(run_id).unwrap().cancelled);
}

#[tokio::test]
async fn cancel_does_not_change_an_ended_run() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let run_id = client.submit(&named("etl")).await;
    client.ended_run(run_id).await;
    assert_eq!(client.cancel(run_id).await.0, 200);
    assert_eq!(client.run(run_id).await["state"]["result_state"], "SUCCESS");
    assert!(!emulator.run(run_id).unwrap().cancelled);
}

#[tokio::test]
async fn task_run_id_can_be_read_and_cancelled() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let run_id = client.submit(&named("etl")).await;
    let task_id = emulator.run(run_id).unwrap().task_run_ids[0];
    assert_eq!(client.run(task_id).await["job_run_id"], run_id);
    assert_eq!(client.cancel(task_id).await.0, 200);
    assert_eq!(emulator.run(run_id).unwrap().life_cycle, "TERMINATING");
}

#[tokio::test]
async fn unknown_run_error_has_the_message_that_clients_match() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let expected =
        json!({"error_code": "INVALID_PARAMETER_VALUE", "message": "Run 7 does not exist."});
    let responses = [
        client.get("/api/2.1/jobs/runs/get?run_id=7").await,
        client.output(7).await,
        client.cancel(7).await,
        client.post("/api/2.1/jobs/runs/delete", &json!({"run_id": "7"})).await,
    ];
    for (status, response) in responses {
        assert_eq!((status.as_u16(), response), (400, expected.clone()));
    }
}

#[tokio::test]
async fn output_needs_a_task_run_id() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let run_id = client.submit(&named("etl")).await;
    let (status, response) = client.output(run_id).await;
    assert_eq!(status, 400);
    let message = response["message"].as_str().unwrap();
    assert!(
        message.starts_with("Retrieving the output of runs with multiple tasks is not supported"),
        "{message}"
    );

    let task_id = emulator.run(run_id).unwrap().task_run_ids[0];
    let (status, early) = client.output(task_id).await;
    assert_eq!(status, 200);
    assert_eq!(early.as_object().unwrap().keys().collect::<Vec<_>>(), ["metadata"]);
}

#[tokio::test]
async fn version_2_0_run_is_its_own_task() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let body =
        json!({"existing_cluster_id": "c-1", "spark_python_task": {"python_file": "dbfs:/a.py"}});
    let (_, response) = client.post("/api/2.0/jobs/runs/submit", &body).await;
    let run_id = response["run_id"].as_i64().unwrap();
    client.ended_run(run_id).await;
    let (_, run) = client.get(&format!("/api/2.0/jobs/runs/get?run_id={run_id}")).await;
    assert_eq!(run.get("tasks"), None);
    assert_eq!(run["cluster_instance"]["cluster_id"], "c-1");
    assert_eq!(run["cluster_spec"], json!({"existing_cluster_id": "c-1"}));
    assert_eq!(client.output(run_id).await.0, 200);
}

#[tokio::test]
async fn outcomes_have_the_documented_states() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let raw = Termination {
        life_cycle_state: Some("EVAPORATED".to_owned()),
        code: Some("SUN_FLARE".to_owned()),
        ..Termination::default()
    };
    let cases = [
        (Outcome::Timedout, json!(["TERMINATED", "TIMEDOUT", "CANCELED"])),
        (Outcome::Canceled, json!(["TERMINATED", "CANCELED", "USER_CANCELED"])),
        (Outcome::Skipped, json!(["SKIPPED", null, "SKIPPED"])),
        (
            Outcome::InternalError { message: "lost".into() },
            json!(["INTERNAL_ERROR", null, "INTERNAL_ERROR"]),
        ),
        (Outcome::Termination(raw), json!(["EVAPORATED", null, "SUN_FLARE"])),
        (Outcome::Termination(Termination::default()), json!([null, null, null])),
    ];
    for (outcome, expected) in cases {
        emulator.set_script("etl", Script::from_outcome(outcome).with_steps([]));
        let run = client.run(client.submit(&named("etl")).await).await;
        let state = &run["state"];
        let code = &run["status"]["termination_details"]["code"];
        assert_eq!(json!([state["life_cycle_state"], state["result_state"], code]), expected);
        assert_eq!(run["status"]["state"], "TERMINATED");
    }
}

#[tokio::test]
async fn state_form_omits_state_or_status() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    emulator.set_script("old", Script { state_form: StateForm::LegacyOnly, ..Script::default() });
    emulator.set_script("new", Script { state_form: StateForm::StatusOnly, ..Script::default() });
    let old = client.run(client.submit(&named("old")).await).await;
    let new = client.run(client.submit(&named("new")).await).await;
    assert!(
        old.get("status").is_none()
            && old["tasks"][0].get("status").is_none()
            && old.get("state").is_some()
    );
    assert!(
        new.get("state").is_none()
            && new["tasks"][0].get("state").is_none()
            && new.get("status").is_some()
    );
}

#[tokio::test]
async fn steps_can_have_messages_and_unknown_states() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let steps = [
        Step {
            queue_code: Some("MAX_CONCURRENT_RUNS_REACHED".into()),
            ..Step::new(LifeCycle::Queued)
        }
        .with_message("full"),
        Step::new(LifeCycle::WaitingForRetry),
        Step::new(LifeCycle::Other("HIBERNATING".into())).with_message("zzz"),
    ];
    emulator.set_script("etl", Script::success().with_steps(steps));
    let run_id = client.submit(&named("etl")).await;
    let queued = client.run(run_id).await;
    assert_eq!(queued["state"]["queue_reason"], "full");
    assert_eq!(
        queued["status"]["queue_details"],
        json!({"code": "MAX_CONCURRENT_RUNS_REACHED", "message": "full"})
    );
    assert_eq!(states(&client.run(run_id).await), ("WAITING_FOR_RETRY", "WAITING"));
    let unknown = client.run(run_id).await;
    assert_eq!(states(&unknown), ("HIBERNATING", "HIBERNATING"));
    assert_eq!(unknown["state"]["state_message"], "zzz");
}

#[tokio::test]
async fn failed_task_fails_the_run_and_skips_its_dependents() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let failed = Outcome::Failed { error: "boom".into(), error_trace: String::new() };
    let tasks = [
        ("b".to_owned(), TaskScript { outcome: Some(failed), ..TaskScript::default() }),
        ("a".to_owned(), TaskScript { logs: Some("of a".into()), ..TaskScript::default() }),
    ];
    emulator.set_script(
        "dag",
        Script { tasks: tasks.into(), ..Script::success().with_logs("of the run") },
    );
    let mut downstream = python_task("c");
    downstream["depends_on"] = json!([{"task_key": "b"}]);
    let mut cleanup = python_task("d");
    cleanup["depends_on"] = json!([{"task_key": "c"}]);
    cleanup["run_if"] = json!("ALL_DONE");
    let body = json!({"run_name": "dag", "tasks": [python_task("a"), python_task("b"), downstream, cleanup]});
    let run_id = client.submit(&body).await;
    let early = client.run(run_id).await;
    assert_eq!(early["tasks"][2]["state"]["life_cycle_state"], "BLOCKED");

    let run = client.ended_run(run_id).await;
    let codes: Vec<_> =
        (0..4).map(|n| &run["tasks"][n]["status"]["termination_details"]["code"]).collect();
    assert_eq!(codes, ["SUCCESS", "RUN_EXECUTION_ERROR", "SKIPPED", "SUCCESS"]);
    assert_eq!(run["tasks"][2]["state"]["life_cycle_state"], "SKIPPED");
    assert_eq!(run["tasks"][2].get("cluster_instance"), None);
    assert!(
        run["state"]["state_message"].as_str().unwrap().starts_with("Task b failed with message: ")
    );
    let logs = async |place: usize| {
        client.output(run["tasks"][place]["run_id"].as_i64().unwrap()).await.1["logs"].clone()
    };
    assert_eq!((logs(0).await, logs(1).await), (json!("of a"), json!("of the run")));
}

#[tokio::test]
async fn notebook_output_has_a_result_and_no_logs() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    emulator.set_script(
        "nb",
        Script { notebook_result: Some("[1]".into()), ..Script::success().with_logs("hidden") },
    );
    let body = json!({"run_name": "nb", "tasks": [{"task_key": "n", "notebook_task": {"notebook_path": "/n"}}]});
    let run = client.ended_run(client.submit(&body).await).await;
    let (_, output) = client.output(run["tasks"][0]["run_id"].as_i64().unwrap()).await;
    assert_eq!(output["notebook_output"], json!({"result": "[1]", "truncated": false}));
    assert_eq!(output.get("logs"), None);
}

#[tokio::test]
async fn version_2_2_pages_tasks_and_further_pages_are_no_polls() {
    let emulator = Emulator::builder().first_run_id(1_000).start().await.unwrap();
    let client = Client::of(&emulator);
    let tasks: Vec<Value> = (0..150).map(|n| python_task(&format!("t{n}"))).collect();
    let run_id = client.submit(&json!({"tasks": tasks})).await;
    assert_eq!(run_id, 1_000);

    let first = client.run(run_id).await;
    assert_eq!(first["tasks"].as_array().unwrap().len(), 100);
    let token = first["next_page_token"].as_str().unwrap();
    let path = format!("/api/2.2/jobs/runs/get?run_id={run_id}&page_token={token}");
    for _ in 0..3 {
        let (_, second) = client.get(&path).await;
        assert_eq!(second["tasks"].as_array().unwrap().len(), 50);
        assert_eq!(second["tasks"][0]["run_id"], 1_101);
        assert_eq!(second["state"]["life_cycle_state"], "QUEUED");
        assert_eq!(second.get("next_page_token"), None);
    }
    let (_, whole) = client.get(&format!("/api/2.1/jobs/runs/get?run_id={run_id}")).await;
    assert_eq!(whole["tasks"].as_array().unwrap().len(), 150);
    let (status, _) =
        client.get(&format!("/api/2.2/jobs/runs/get?run_id={run_id}&page_token=x")).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn pace_can_be_manual_or_by_time() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    emulator.set_script("manual", Script::success().with_pace(Pace::Manual));
    let run_id = client.submit(&named("manual")).await;
    for expected in ["PENDING", "RUNNING", "TERMINATED", "TERMINATED"] {
        client.run(run_id).await;
        assert_eq!(emulator.advance(run_id).unwrap().life_cycle, expected);
    }
    assert_eq!(emulator.advance(1), None);

    // With zero duration the run has ended before the first poll.
    emulator.set_script("timed", Script::success().with_pace(Pace::Elapsed(Duration::ZERO)));
    let run_id = client.submit(&named("timed")).await;
    assert_eq!(emulator.run(run_id).unwrap().result.as_deref(), Some("SUCCESS"));
}
