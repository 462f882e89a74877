//! The series of a run over the wire, as range-query objects.

use std::time::{Duration, SystemTime};

use connector_core::value;
use connector_server::registry;
use databricks_connector::Config;
use databricks_emulator::{Emulator, Pace, Script};
use flyteidl2::connector::GetTaskMetricsRequest;
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    databricks::{captured, category, configured, pointed_at},
    server::{Running, config, start},
};

/// The connector's own token, which is the workspace's.
pub const TOKEN: &str = "dapi-connector";

/// A server before a workspace where one run has begun, and the run's meta.
async fn begun(
    script: Script,
    change: impl FnOnce(Config) -> Config,
) -> (Emulator, Running, Vec<u8>) {
    let emulator = Emulator::builder().token(TOKEN).default_script(script).start().await.unwrap();
    let server = start(config(), registry(change(configured(&emulator))).unwrap()).await;
    let mut request = pointed_at(captured("40_executor_first_attempt"), &emulator.https_host());
    request.connection = None;
    let meta = server.tasks().create_task(request).await.unwrap().into_inner().resource_meta;
    (emulator, server, meta)
}

/// What is asked for, as a message.
fn request(meta: &[u8], queries: &[&str]) -> GetTaskMetricsRequest {
    GetTaskMetricsRequest {
        resource_meta: meta.to_vec(),
        task_category: Some(category()),
        queries: queries.iter().map(|name| (*name).to_owned()).collect(),
        ..GetTaskMetricsRequest::default()
    }
}

/// The results by name.
async fn results(
    server: &Running,
    request: GetTaskMetricsRequest,
) -> serde_json::Map<String, Value> {
    let answer = server.tasks().get_task_metrics(request).await.unwrap().into_inner();
    let read = answer.results.into_iter().map(|result| {
        (result.metric, Value::Object(value::json_from_struct(&result.data.unwrap()).unwrap()))
    });
    read.collect()
}

#[tokio::test]
async fn the_runs_own_series_are_range_queries_of_the_asked_names_window_and_step() {
    let script = Script::success().with_pace(Pace::Manual);
    let (emulator, server, meta) = Box::pin(begun(script, |config| config)).await;
    let run_id = emulator.runs()[0].run_id;
    emulator.advance(run_id);
    emulator.advance(run_id);

    let everything = results(&server, request(&meta, &[])).await;
    assert_eq!(everything.len(), 8, "{everything:?}");
    for (name, result) in &everything {
        assert_eq!(result["resultType"], "matrix", "{name}");
    }
    let workers = &everything["databricks_cluster_workers"]["result"][0];
    assert_eq!(workers["metric"]["__name__"], "databricks_cluster_workers");
    assert!(workers["metric"]["cluster_id"].is_string());
    assert_eq!(workers["values"].as_array().unwrap().last().unwrap()[1], "1");

    let now = SystemTime::now();
    let asked = GetTaskMetricsRequest {
        start_time: Some((now - Duration::from_mins(61)).into()),
        end_time: Some((now + Duration::from_hours(1)).into()),
        step: Some(Duration::from_mins(5).try_into().unwrap()),
        ..request(&meta, &["databricks_run_tasks"])
    };
    let told = results(&server, asked.clone()).await;
    let running = told["databricks_run_tasks"]["result"].as_array().unwrap();
    let running = running.iter().find(|series| series["metric"]["state"] == "running").unwrap();
    let values = running["values"].as_array().unwrap();
    assert_eq!((told.len(), values.len()), (1, 1), "only the present lies in the run's life");
    assert_eq!(values[0][1], "1");
    let at = values[0][0].as_f64().unwrap();
    let since = Duration::from_secs_f64(at);
    assert!(SystemTime::UNIX_EPOCH + since >= now - Duration::from_secs(1));

    let before =
        GetTaskMetricsRequest { end_time: Some((now - Duration::from_mins(30)).into()), ..asked };
    assert_eq!(results(&server, before).await["databricks_run_tasks"]["result"], json!([]));
}

#[tokio::test]
async fn a_window_that_makes_no_sense_is_an_invalid_argument() {
    let (_emulator, server, meta) = Box::pin(begun(Script::success(), |config| config)).await;
    let now = SystemTime::now();
    let turned = GetTaskMetricsRequest {
        start_time: Some(now.into()),
        end_time: Some((now - Duration::from_secs(90)).into()),
        ..request(&meta, &[])
    };
    let refused = server.tasks().get_task_metrics(turned).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("90 s before start_time"), "{}", refused.message());
    let unknown = server.tasks().get_task_metrics(request(&meta, &["EXECUTION_METRIC_NONE"])).await;
    let unknown = unknown.unwrap_err();
    assert_eq!(unknown.code(), Code::InvalidArgument);
    assert!(unknown.message().contains("databricks_run_tasks"), "{}", unknown.message());
}
