//! Submissions of every type of task: the body is a snapshot, and the emulated workspace accepts it. Rejected tasks have a
//! remedy, and send nothing.

use connector_core::{Connector, CreateContext, ErrorKind, value};
use databricks_connector::{Config, Entrypoint};
use databricks_emulator::{CannedResponse, Endpoint};
use serde_json::{Value, json};

use crate::harness::{Harness, TOKEN, create_context, stored, with_custom};

/// Returns the captured request with exactly this `databricksConf`.
/// Returns a request with this `databricksConf` and without outputs, which some of the work here never returns.
fn with_conf(harness: &Harness, conf: &Value) -> CreateContext {
    let mut cx = harness.request_with_conf("40_executor_first_attempt", conf);
    if let Some(interface) = &mut cx.template.interface {
        interface.outputs = None;
    }
    cx
}

/// Submits the task and compares the accepted body with its snapshot.
async fn check(name: &str, conf: Value) {
    check_in(&Harness::start().await, name, &conf).await;
}

async fn check_in(harness: &Harness, name: &str, conf: &Value) {
    harness
        .connector
        .create(with_conf(harness, conf))
        .await
        .unwrap_or_else(|error| panic!("{name}: {error:?}"));
    let submissions = harness.emulator.submissions();
    insta::assert_json_snapshot!(name, without_digest(submissions.last().unwrap()));
}

/// Returns the body without the digest of the entrypoint script.
fn without_digest(body: &Value) -> Value {
    let text = body.to_string();
    let Some((before, rest)) = text.split_once("flyte_entrypoint_") else { return body.clone() };
    let (_, after) = rest.split_once(".py").unwrap();
    serde_json::from_str(&format!("{before}flyte_entrypoint_[digest].py{after}")).unwrap()
}

async fn check_rejected(conf: Value, words: &str) {
    let harness = Harness::start().await;
    let error = harness.connector.create(with_conf(&harness, &conf)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidTask, "{conf}");
    let message = format!("{error}; {}", error.hint().unwrap_or_default());
    assert!(message.contains(words), "{conf}: {message}");
    assert!(harness.emulator.requests().is_empty(), "{conf}");
}

fn cluster() -> Value {
    json!({"spark_version": "16.4.x-scala2.12", "node_type_id": "m6i.large", "num_workers": 1})
}

#[tokio::test]
async fn clusters() {
    check("new_cluster_with_pool_and_policy", json!({"new_cluster": {
        "spark_version": "16.4.x-scala2.12", "instance_pool_id": "pool-1", "policy_id": "P1",
        "autoscale": {"min_workers": 1, "max_workers": 4},
        "spark_conf": {"spark.master": "yarn", "spark.shuffle.partitions": 8, "spark.speculation": true},
        "custom_tags": {"team": "a", "flyte_run": "mine"},
    }}))
    .await;
    check("existing_cluster", json!({"existing_cluster_id": "0923-164208-meows279"})).await;
}

/// Returns the only task submitted for this `databricksConf`.
async fn task_of(conf: Value) -> Value {
    let harness = Harness::start().await;
    harness.connector.create(with_conf(&harness, &conf)).await.unwrap();
    harness.emulator.submissions()[0]["tasks"][0].clone()
}

#[tokio::test]
async fn new_cluster_has_the_image_of_the_task_unless_the_user_overrides_it() {
    let image = async |docker_image: Option<Value>| {
        let mut cluster = cluster();
        if let Some(docker_image) = docker_image {
            cluster["docker_image"] = docker_image;
        }
        task_of(json!({ "new_cluster": cluster })).await["new_cluster"].get("docker_image").cloned()
    };
    let of_the_task = image(None).await.unwrap();
    assert!(of_the_task["url"].is_string(), "{of_the_task}");
    let other = json!({"url": "ghcr.io/acme/other:1"});
    assert_eq!(image(Some(other.clone())).await, Some(other));
    // Opt-out, for workspaces without container services.
    assert_eq!(image(Some(Value::Null)).await, None);
    // Exported jobs contain this when no image was given.
    assert_eq!(image(Some(json!({}))).await, Some(of_the_task.clone()));
    let login = json!({"username": "u", "password": "p"});
    assert_eq!(
        image(Some(json!({ "basic_auth": login }))).await,
        Some(json!({"url": of_the_task["url"], "basic_auth": login}))
    );
}

#[tokio::test]
async fn work_of_the_user_gets_no_image() {
    for work in [
        json!({"notebook_task": {"notebook_path": "/n"}}),
        json!({"python_wheel_task": {"package_name": "p", "entry_point": "main"}}),
        json!({"spark_jar_task": {"main_class_name": "com.acme.Main"}}),
        json!({"spark_python_task": {"python_file": "dbfs:/a.py"}}),
        json!({"quantum_task": {"qubits": 3}}),
    ] {
        for docker_image in [None, Some(json!({})), Some(Value::Null)] {
            let mut conf = work.clone();
            conf["new_cluster"] = cluster();
            if let Some(docker_image) = docker_image {
                conf["new_cluster"]["docker_image"] = docker_image;
            }
            assert_eq!(task_of(conf).await["new_cluster"].get("docker_image"), None, "{work}");
        }
        let mut conf = work.clone();
        conf["new_cluster"] = cluster();
        let own = json!({"url": "ghcr.io/acme/ml:1"});
        conf["new_cluster"]["docker_image"] = own.clone();
        assert_eq!(task_of(conf).await["new_cluster"]["docker_image"], own);
    }
}

#[tokio::test]
async fn refusal_names_what_the_connector_added() {
    for (message, words) in [
        (
            "Validation failed for custom_tags.flyte_run, the value is not permitted by policy",
            "--no-cluster-tags",
        ),
        ("Cluster validation error: custom_tags.flyte_attempt is forbidden", "--no-cluster-tags"),
        ("Databricks Container Services is not enabled for this workspace", "docker_image"),
        ("docker_image is not supported with access mode Standard", "docker_image"),
        (
            "Custom containers is turned off for your deployment. Please contact your workspace administrator",
            "docker_image",
        ),
    ] {
        let harness = Harness::start().await;
        let body = json!({"error_code": "INVALID_PARAMETER_VALUE", "message": message});
        let response = CannedResponse::json(400, body.to_string());
        harness.emulator.answer_next(Endpoint::SubmitRun, response, 1);
        let conf = json!({"new_cluster": cluster()});
        let error = harness.connector.create(with_conf(&harness, &conf)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidTask);
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains(words), "{message}: {hint}");
    }
}

#[tokio::test]
async fn fields_of_a_pasted_job_are_no_reason_to_refuse_it() {
    let harness = Harness::start().await;
    let notebook = json!({"notebook_path": "/n"});
    let conf = json!({
        "name": "x", "description": "nightly", "max_retries": 1, "retry_on_timeout": false, "min_retry_interval_millis": 1000,
        "schedule": {"quartz_cron_expression": "0 0 * * * ?", "timezone_id": "UTC"}, "max_concurrent_runs": 1,
        "format": "MULTI_TASK", "edit_mode": "EDITABLE", "tags": {"team": "a"}, "task_key": "stray",
        "tasks": [{"task_key": "a", "existing_cluster_id": "c-1", "notebook_task": notebook}],
    });
    harness.connector.create(with_conf(&harness, &conf)).await.unwrap();
    let body = harness.emulator.submissions().remove(0);
    assert_eq!(body["description"], "nightly");
    assert_eq!(body["tasks"], conf["tasks"]);
    assert_eq!(body.get("max_retries"), None);

    let harness = Harness::start().await;
    let settings = json!({"name": "saved", "tasks": conf["tasks"]});
    harness.emulator.save_job(7, settings.as_object().unwrap().clone());
    let conf = json!({"job_id": 7, "description": "nightly", "max_retries": 1});
    harness.connector.create(with_conf(&harness, &conf)).await.unwrap();
    assert_eq!(harness.emulator.runs().len(), 1);
}

#[tokio::test]
async fn hint_for_a_cluster_beside_a_saved_job_names_both_remedies() {
    let harness = Harness::start().await;
    let conf = json!({"job_id": 123, "new_cluster": cluster()});
    let error = harness.connector.create(with_conf(&harness, &conf)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidTask);
    let hint = error.hint().unwrap();
    assert!(hint.starts_with("remove `new_cluster`") && hint.contains("remove `job_id`"), "{hint}");
}

#[tokio::test]
async fn values_of_variables_are_no_references_of_databricks() {
    for compute in [json!({"existing_cluster_id": "c"}), json!({"serverless": true})] {
        let harness = Harness::start().await;
        let mut cx = with_conf(&harness, &compute);
        let value = "{{job.id}} 100% {{ tasks.a.values.b }} {x} %7B";
        cx.execution.environment_variables.insert("TRICKY".to_owned(), value.to_owned());
        harness.connector.create(cx).await.unwrap();
        let parameters =
            harness.emulator.submissions()[0]["tasks"][0]["spark_python_task"]["parameters"]
                .clone();
        let sent = parameters
            .as_array()
            .unwrap()
            .iter()
            .find_map(|text| text.as_str()?.strip_prefix("TRICKY="));
        let sent = sent.unwrap();
        let encoded = "%7B%7Bjob.id%7D%7D 100%25 %7B%7B tasks.a.values.b %7D%7D %7Bx%7D %257B";
        assert_eq!(sent, encoded);
    }
}

#[tokio::test]
async fn shortest_time_limit_of_the_request_is_submitted() {
    let seconds = |seconds| prost_types::Duration { seconds, nanos: 0 };
    for (conf, max_runtime, deadline, expected) in [
        (json!({}), Some(600), Some(20), json!(20)),
        (json!({}), None, Some(20), json!(20)),
        (json!({}), Some(20), Some(600), json!(20)),
        (json!({"timeout_seconds": 3600}), None, Some(20), json!(20)),
        (json!({"timeout_seconds": 0}), None, Some(20), json!(20)),
        (json!({"timeout_seconds": 10}), Some(600), Some(20), json!(10)),
        (json!({}), Some(i64::MAX), None, json!(i32::MAX)),
        (json!({}), Some(-5), Some(0), Value::Null),
    ] {
        let harness = Harness::start().await;
        let mut cx = harness.request("40_executor_first_attempt", conf.clone());
        let metadata = cx.template.metadata.as_mut().unwrap();
        metadata.timeout = max_runtime.map(seconds);
        let deadline = deadline.map(seconds);
        metadata.timeouts =
            Some(flyteidl2::core::TimeoutStrategy { deadline, ..Default::default() });
        harness.connector.create(cx).await.unwrap();
        let sent =
            harness.emulator.submissions()[0].get("timeout_seconds").cloned().unwrap_or_default();
        assert_eq!(sent, expected, "{conf} {max_runtime:?} {deadline:?}");
    }
}

#[tokio::test]
async fn serverless_work_gets_the_packages_that_it_needs() {
    let environment = async |conf: Value| {
        let harness = Harness::start().await;
        harness.connector.create(with_conf(&harness, &conf)).await.unwrap();
        let body = harness.emulator.submissions().remove(0);
        let packages = body["environments"][0]["spec"]["dependencies"].clone();
        (packages, body["tasks"][0]["spark_python_task"]["parameters"].to_string())
    };
    let (packages, parameters) = environment(json!({"serverless": true})).await;
    let packages = packages.as_array().unwrap().clone();
    assert!(packages[0].as_str().unwrap().starts_with("flyte[connector]"), "{packages:?}");
    // They require PySpark, which must not replace the platform's.
    assert!(
        packages.iter().all(|package| !package.as_str().unwrap().contains("plugins")),
        "{packages:?}"
    );
    assert!(parameters.contains(r#""--plugin","flyteplugins-databricks"#), "{parameters}");
    let (packages, _) = environment(
        json!({"serverless": true, "python_wheel_task": {"package_name": "p", "entry_point": "m"}}),
    )
    .await;
    assert_eq!(packages, json!([]));
    let (packages, parameters) = environment(
        json!({"serverless": true, "spark_python_task": {"python_file": "/Workspace/a.py"}}),
    )
    .await;
    assert_eq!((packages, parameters.as_str()), (json!([]), "null"));
    let (packages, _) =
        environment(json!({"serverless": true, "dbt_task": {"commands": ["dbt run"]}})).await;
    assert_eq!(packages, json!(["dbt-databricks"]));
}

#[tokio::test]
async fn top_level_python_file_is_the_file_of_a_task_with_parameters() {
    let task = task_of(json!({
        "existing_cluster_id": "c-1", "python_file": "/Workspace/Users/me/etl.py",
        "spark_python_task": {"parameters": ["--day", "1"]},
    }))
    .await;
    let expected =
        json!({"python_file": "/Workspace/Users/me/etl.py", "parameters": ["--day", "1"]});
    assert_eq!(task["spark_python_task"], expected);
}

#[tokio::test]
async fn serverless() {
    for (name, conf) in [
        ("serverless_runtime", json!({"serverless": true})),
        ("serverless_key_alone", json!({"environment_key": "mine"})),
        (
            "serverless_environments_alone",
            json!({"environments": [{"environment_key": "e1", "spec": {"environment_version": "3", "dependencies": ["flyte", "pandas==2.2.0"]}}]}),
        ),
        (
            "serverless_wheel",
            json!({"serverless": true, "python_wheel_task": {"package_name": "p", "entry_point": "main", "parameters": ["x"]}}),
        ),
        (
            "serverless_notebook",
            json!({"serverless": true, "notebook_task": {"notebook_path": "/Workspace/Users/me/n"}}),
        ),
    ] {
        check(name, conf).await;
    }
}

#[tokio::test]
async fn workloads_of_the_user() {
    for (name, workload) in [
        (
            "notebook",
            json!({"notebook_task": {"notebook_path": "/Workspace/Users/me/n", "base_parameters": {"a": "1"}}}),
        ),
        (
            "notebook_of_v1",
            json!({"notebookPath": "/Workspace/Users/me/n", "notebookBaseParameters": {"a": 1, "b": true}}),
        ),
        (
            "wheel",
            json!({"python_wheel_task": {"package_name": "p", "entry_point": "main", "named_parameters": {"a": "b"}}}),
        ),
        (
            "jar",
            json!({"spark_jar_task": {"main_class_name": "com.acme.Main", "parameters": ["x"]}, "libraries": [{"jar": "dbfs:/a.jar"}]}),
        ),
        (
            "spark_submit",
            json!({"spark_submit_task": {"parameters": ["--class", "com.acme.Main", "dbfs:/a.jar"]}}),
        ),
        (
            "python_file_with_parameters",
            json!({"spark_python_task": {"python_file": "dbfs:/jobs/a.py", "parameters": ["--x", "1"]}}),
        ),
        (
            "dbt",
            json!({"dbt_task": {"commands": ["dbt run"], "warehouse_id": "w"}, "git_source": {"git_url": "https://github.com/acme/dbt", "git_provider": "gitHub", "git_branch": "main"}}),
        ),
    ] {
        let mut conf = workload;
        conf.as_object_mut().unwrap().insert("existing_cluster_id".to_owned(), json!("c-1"));
        check(name, conf).await;
    }
}

#[tokio::test]
async fn workloads_without_compute() {
    for (name, conf) in [
        ("sql", json!({"sql_task": {"warehouse_id": "w", "query": {"query_id": "q"}}})),
        ("pipeline", json!({"pipeline_task": {"pipeline_id": "p", "full_refresh": true}})),
        ("run_job", json!({"run_job_task": {"job_id": 123, "job_parameters": {"a": "b"}}})),
        ("condition", json!({"condition_task": {"op": "EQUAL_TO", "left": "a", "right": "b"}})),
        (
            "for_each",
            json!({"for_each_task": {"inputs": "[1,2]", "concurrency": 2, "task": {
                "task_key": "each", "existing_cluster_id": "c-1", "notebook_task": {"notebook_path": "/n"}}}}),
        ),
        (
            "unknown_task_type",
            json!({"quantum_task": {"qubits": 3}, "something_new": {"x": [1, 2.5]}}),
        ),
    ] {
        check(name, conf).await;
    }
}

#[tokio::test]
async fn top_level_task_keys_move_into_the_task_and_run_keys_stay() {
    check("top_level_task_keys", json!({
        "new_cluster": cluster(), "task_key": "mine", "description": "d", "max_retries": 2,
        "min_retry_interval_millis": 2000, "retry_on_timeout": true, "run_if": "ALL_DONE", "disabled": false,
        "disable_auto_optimization": true, "libraries": [{"pypi": {"package": "x"}}],
        "run_name": "mine", "timeout_seconds": 60, "health": {"rules": []},
        "notification_settings": {"no_alert_for_skipped_runs": true}, "something_new": {"a": [1.5, 2, 3.0]},
    }))
    .await;
}

#[tokio::test]
async fn entrypoints_of_the_user() {
    let git = json!({"git_url": "https://github.com/acme/jobs", "git_provider": "gitHub", "git_branch": "main"});
    for (name, conf) in [
        ("entrypoint_in_a_repository", json!({"python_file": "jobs/entry.py", "git_source": git})),
        ("entrypoint_in_the_workspace", json!({"python_file": "/Workspace/Users/me/entry.py"})),
        (
            "python_file_without_parameters",
            json!({"spark_python_task": {"python_file": "jobs/entry.py", "source": "GIT"}, "git_source": git}),
        ),
        ("notebook_in_a_repository", json!({"notebookPath": "notebooks/n", "git_source": git})),
    ] {
        let mut conf = conf;
        conf.as_object_mut().unwrap().insert("new_cluster".to_owned(), cluster());
        check(name, conf).await;
    }
}

#[tokio::test]
async fn task_graph() {
    check("graph", json!({"run_name": "graph", "tasks": [
        {"task_key": "a", "new_cluster": cluster(), "notebook_task": {"notebook_path": "/a"}},
        {"task_key": "b", "sql_task": {"warehouse_id": "w", "query": {"query_id": "q"}}, "depends_on": [{"task_key": "a"}]},
    ]}))
    .await;
}

#[tokio::test]
async fn new_clusters_are_tagged_and_tags_of_the_user_take_precedence() {
    let mut own = cluster();
    own["custom_tags"] = json!({"flyte_run": "mine", "team": "data"});
    let notebook = json!({"notebook_path": "/n"});
    let repeated = json!({"task_key": "each", "new_cluster": own, "notebook_task": notebook});
    let for_each = json!({"inputs": "[1]", "task": repeated});
    let alone = json!({"for_each_task": for_each});
    let tasks = json!({"tasks": [
        {"task_key": "a", "new_cluster": cluster(), "notebook_task": notebook},
        {"task_key": "b", "for_each_task": for_each},
    ]});
    let mut bodies = Vec::new();
    for conf in [alone, tasks] {
        let harness = Harness::start().await;
        harness.connector.create(with_conf(&harness, &conf)).await.unwrap();
        bodies.extend(harness.emulator.submissions());
    }
    assert_eq!(bodies[1]["tasks"][0]["new_cluster"]["custom_tags"]["flyte_action"], "a0");
    for task in [&bodies[0]["tasks"][0], &bodies[1]["tasks"][1]] {
        let tags = &task["for_each_task"]["task"]["new_cluster"]["custom_tags"];
        assert_eq!((&tags["flyte_run"], &tags["team"]), (&json!("mine"), &json!("data")));
        assert_eq!(tags["flyte_action"], "a0");
    }
}

#[tokio::test]
async fn timeout_and_run_level_keys_are_submitted() {
    let harness = Harness::start().await;
    let conf = json!({
        "new_cluster": cluster(), "queue": {"enabled": true}, "budget_policy_id": "b", "run_as": {"user_name": "me@acme.example"},
        "access_control_list": [{"user_name": "you@acme.example", "permission_level": "CAN_VIEW"}],
        "email_notifications": {"on_failure": ["me@acme.example"]},
    });
    let mut cx = with_conf(&harness, &conf);
    cx.template.metadata.as_mut().unwrap().timeout =
        Some(prost_types::Duration { seconds: 600, nanos: 1 });
    harness.connector.create(cx).await.unwrap();
    insta::assert_json_snapshot!("run_level", harness.emulator.submissions()[0]);
    check(
        "timeout_of_the_user_takes_precedence",
        json!({"new_cluster": cluster(), "timeout_seconds": 60}),
    )
    .await;
}

#[tokio::test]
async fn settings_of_the_task_take_precedence_over_run_defaults() {
    let defaults = json!({
        "access_control_list": [{"group_name": "ops", "permission_level": "CAN_VIEW"}],
        "budget_policy_id": "ours", "email_notifications": {"on_failure": ["ops@acme.example"]},
        "queue": {"enabled": true}, "run_as": {"service_principal_name": "flyte-runs"},
    });
    let run_defaults: databricks_connector::RunDefaults = defaults.to_string().parse().unwrap();
    let harness = Harness::with(|config| Config { run_defaults, ..config }).await;
    check_in(
        &harness,
        "run_defaults",
        &json!({"existing_cluster_id": "c", "budget_policy_id": "theirs"}),
    )
    .await;

    let settings = json!({"run_name": "saved", "tasks": [
        {"task_key": "a", "existing_cluster_id": "c-1", "notebook_task": {"notebook_path": "/n"}}]});
    harness.emulator.save_job(7, settings.as_object().unwrap().clone());
    harness.connector.create(with_conf(&harness, &json!({"job_id": 7}))).await.unwrap();
    let sent = harness.emulator.requests().pop().unwrap().body.unwrap();
    insta::assert_json_snapshot!("run_defaults_of_a_job", sent);
}

#[tokio::test]
async fn jobs_api_version_is_configurable() {
    let path = async |harness: &Harness| {
        harness
            .connector
            .create(with_conf(harness, &json!({"existing_cluster_id": "c"})))
            .await
            .unwrap();
        let submit = |path: &String| path.ends_with("/runs/submit");
        harness
            .emulator
            .requests()
            .into_iter()
            .map(|request| request.path)
            .filter(submit)
            .collect::<Vec<_>>()
    };
    assert_eq!(path(&Harness::start().await).await, ["/api/2.2/jobs/runs/submit"]);
    let jobs_api = databricks_connector::JobsApi::V2_1;
    let old = Harness::with(|config| Config { jobs_api, ..config }).await;
    assert_eq!(path(&old).await, ["/api/2.1/jobs/runs/submit"]);
}

#[tokio::test]
async fn configured_entrypoint_and_disabled_tags() {
    let harness = Harness::with(|config| Config {
        entrypoint: Entrypoint::Workspace,
        cluster_tags: false,
        ..config
    })
    .await;
    check_in(&harness, "workspace_entrypoint_by_configuration", &json!({"new_cluster": cluster()}))
        .await;
}

#[tokio::test]
async fn pickled_function_uses_the_connectors_entrypoint_script() {
    let harness = Harness::start().await;
    let cx = harness.request("42_executor_pkl", json!({}));
    harness.connector.create(cx).await.unwrap();
    let task = harness.emulator.submissions()[0]["tasks"][0]["spark_python_task"].clone();
    assert_eq!(task["source"], "WORKSPACE");
    assert!(task["python_file"].as_str().unwrap().starts_with("/Workspace/Users/"), "{task}");
    assert_eq!(task["parameters"][0], "a0", "the cluster carries the variables");
}

#[tokio::test]
async fn entrypoint_script_is_uploaded_once_and_restored_after_a_change() {
    let harness = Harness::start().await;
    let imports = |harness: &Harness| {
        harness
            .emulator
            .requests()
            .iter()
            .filter(|request| request.path.ends_with("/workspace/import"))
            .count()
    };
    let create = async |attempt| {
        let mut cx = harness.request("42_executor_pkl", json!({}));
        cx.execution.task_execution_id.as_mut().unwrap().retry_attempt = attempt;
        harness.connector.create(cx).await.unwrap();
    };
    create(0).await;
    create(1).await;
    assert_eq!(imports(&harness), 1);

    let submitted =
        harness.emulator.submissions()[0]["tasks"][0]["spark_python_task"]["python_file"].clone();
    let path = submitted.as_str().unwrap();
    let script = harness.emulator.workspace_file(path).unwrap();
    harness.emulator.put_workspace_file(path, "print('changed')");
    create(2).await;
    assert_eq!(imports(&harness), 2);
    assert_eq!(harness.emulator.workspace_file(path).unwrap(), script);
}

#[tokio::test]
async fn read_only_home_folder_is_an_error_with_a_hint() {
    let emulator = databricks_emulator::Emulator::builder()
        .token(TOKEN)
        .read_only_home()
        .start()
        .await
        .unwrap();
    let connector = databricks_connector::DatabricksConnector::new(Config {
        instance: Some(emulator.http_url()),
        access_token: Some(TOKEN.into()),
        entrypoint: Entrypoint::Workspace,
        ..Config::default()
    })
    .unwrap();
    let cx = with_custom(create_context("40_executor_first_attempt"), |custom| {
        custom.insert("databricksInstance".to_owned(), json!(emulator.http_url()));
    });
    let error = connector.create(cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    assert!(error.hint().unwrap().contains("its own home"), "{error:?}");
    assert!(emulator.runs().is_empty());
}

#[tokio::test]
async fn image_arguments_and_variables_of_a_pod_template_are_used() {
    let harness = Harness::start().await;
    let mut cx = with_conf(&harness, &json!({"new_cluster": cluster()}));
    let spec = json!({"containers": [
        {"name": "sidecar", "image": "other"},
        {"name": "main", "image": "ghcr.io/acme/x:1", "env": [{"name": "A", "value": "1"}, {"name": "S", "valueFrom": {}}],
         "args": ["a0", "--outputs-path", "{{.outputPrefix}}", "--prev-checkpoint", "{{.prevCheckpointPrefix}}",
                  "--run-name", "{{.runName}}", "--tgz", "s3://b/x.tar.gz", "--dest", ".", "--resolver", "r"]},
    ]});
    cx.template.target =
        Some(flyteidl2::core::task_template::Target::K8sPod(flyteidl2::core::K8sPod {
            pod_spec: spec.as_object().map(value::struct_from_json),
            primary_container_name: "main".to_owned(),
            ..Default::default()
        }));
    harness.connector.create(cx).await.unwrap();
    insta::assert_json_snapshot!("pod_template", harness.emulator.submissions()[0]);
}

#[tokio::test]
async fn contradictory_settings_are_rejected_before_any_request() {
    check_rejected(json!({"serverless": true, "new_cluster": cluster()}), "serverless").await;
    check_rejected(json!({"serverless": false}), "`serverless: true`").await;
    check_rejected(
        json!({"serverless": "yes", "existing_cluster_id": "c"}),
        "`serverless` must be a boolean",
    )
    .await;
    check_rejected(json!({"notebook_task": {"notebook_path": "/n"}}), "names no compute").await;
    check_rejected(json!({"job_id": "abc"}), "`job_id`").await;
    check_rejected(json!({"job_id": 1.5}), "`job_id`").await;
    // 2^53 + 1 arrives as the same number.
    check_rejected(json!({"job_id": 9_007_199_254_740_992_i64}), "the last ones are lost").await;
    check_rejected(json!({"job_id": 7, "existing_cluster_id": "c"}), "`job_id`").await;
    for (key, value) in [
        ("serverless", json!(true)),
        ("python_file", json!("a.py")),
        ("notebookPath", json!("/n")),
        ("notebookBaseParameters", json!({"a": "b"})),
    ] {
        let tasks = json!([{"task_key": "a", "notebook_task": {"notebook_path": "/n"}}]);
        check_rejected(json!({"job_id": 7, key: value}), &format!("both `job_id` and `{key}`"))
            .await;
        check_rejected(json!({"tasks": tasks, key: value}), &format!("both `tasks` and `{key}`"))
            .await;
    }
    check_rejected(
        json!({"job_id": 7, "python_params": ["x".repeat(10_000)]}),
        "10004 bytes, more than the 10000",
    )
    .await;
    check_rejected(
        json!({"job_id": 7, "job_parameters": {"a": "x".repeat(10_000)}}),
        "10008 bytes, more than the 10000",
    )
    .await;
    check_rejected(
        json!({"existing_cluster_id": "c", "environments": {}, "x": "y".repeat(10 * 1024 * 1024)}),
        "more than the 10485760",
    )
    .await;
}

#[tokio::test]
async fn largest_allowed_body_is_accepted() {
    let harness = Harness::start().await;
    // At the connector's limit; the idempotency token is added to it.
    let conf =
        |filler: usize| json!({"job_id": 7, "run_name": "x", "something_new": "y".repeat(filler)});
    harness.emulator.save_job(
        7,
        json!({"tasks": [{"task_key": "a", "existing_cluster_id": "c",
        "notebook_task": {"notebook_path": "/n"}}]})
        .as_object()
        .unwrap()
        .clone(),
    );
    let body = serde_json::to_vec(&conf(0)).unwrap().len() + 1024;
    let most = 10 * 1024 * 1024 - body;
    harness.connector.create(with_conf(&harness, &conf(most))).await.unwrap();
    check_rejected(conf(most + 1), "10485761 bytes, more than the 10485760").await;
}

#[tokio::test]
async fn existing_job_is_run_with_parameters() {
    let harness = Harness::start().await;
    let settings = json!({"run_name": "saved", "tasks": [
        {"task_key": "a", "existing_cluster_id": "c-1", "notebook_task": {"notebook_path": "/n"}}]});
    harness.emulator.save_job(218_406_790_113_205, settings.as_object().unwrap().clone());
    let conf =
        json!({"job_id": "218406790113205", "job_parameters": {"day": "1"}, "something_new": 1});
    let first = harness.connector.create(with_conf(&harness, &conf)).await.unwrap();
    let again = harness.connector.create(with_conf(&harness, &conf)).await.unwrap();
    assert_eq!(stored(&first), stored(&again));
    assert_eq!(harness.emulator.runs().len(), 1);
    let sent = harness.emulator.requests()[0].clone();
    assert!(sent.path.ends_with("/jobs/run-now"), "{}", sent.path);
    insta::assert_json_snapshot!("run_now", sent.body.unwrap());

    let unknown = with_conf(&harness, &json!({"job_id": 7}));
    let error = harness.connector.create(unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidTask);
}
