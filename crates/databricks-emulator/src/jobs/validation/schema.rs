//! The fields of a `runs/submit` body and their JSON types (databricks-api.md#runs-submit, databricks-api.md#task-types).

/// The JSON type of a field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FieldType {
    /// Any object.
    Open,
    /// A string.
    Text,
    /// `true` or `false`.
    Bool,
    /// A 64-bit integer written without a decimal point.
    Int,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// An object with these fields. Others are ignored.
    Object(&'static [Field]),
    /// An object whose values are strings.
    TextMap,
    /// An array.
    List(&'static Self),
    /// An array with at most this many elements.
    ListUpTo(usize, &'static Self),
}

/// One field of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: FieldType,
    pub(crate) required: bool,
}

const fn field(name: &'static str, field_type: FieldType) -> Field {
    Field { name, kind: field_type, required: false }
}

const fn required(name: &'static str, field_type: FieldType) -> Field {
    Field { name, kind: field_type, required: true }
}

use FieldType::{Bool, Int, List, ListUpTo, Object, OneOf, Open, Text, TextMap};

const TEXTS: FieldType = List(&Text);
const OPENS: FieldType = List(&Open);
const WEBHOOKS: FieldType = ListUpTo(3, &Open);

/// The values of `source`.
pub(crate) const SOURCE: FieldType = OneOf(&["GIT", "WORKSPACE"]);

/// The values of `git_source.git_provider`.
pub(crate) const GIT_PROVIDERS: [&str; 8] = [
    "gitHub",
    "bitbucketCloud",
    "azureDevOpsServices",
    "gitHubEnterprise",
    "bitbucketServer",
    "gitLab",
    "gitLabEnterpriseEdition",
    "awsCodeCommit",
];

/// The largest number of tasks in one run.
const MAX_TASKS: usize = 1000;

/// The fields of a run.
pub(crate) const RUN: &[Field] = &[
    field("access_control_list", List(&Object(ACCESS))),
    field("budget_policy_id", Text),
    field("duration_target", OneOf(&["NO_FLEXIBILITY", "4h", "12h", "24h", "72h"])),
    field("email_notifications", EMAIL_NOTIFICATIONS),
    field("environment_variables", ListUpTo(10, &Object(ENVIRONMENT_VARIABLES))),
    field("environments", List(&Object(ENVIRONMENT))),
    field("git_source", Object(GIT_SOURCE)),
    field("health", Open),
    field("idempotency_token", Text),
    field("notification_settings", Open),
    field("performance_target", OneOf(&["PERFORMANCE_OPTIMIZED", "STANDARD", "COST_OPTIMIZED"])),
    field("queue", Object(&[required("enabled", Bool)])),
    field("run_as", Object(PRINCIPAL)),
    field("run_name", Text),
    field("tasks", ListUpTo(MAX_TASKS, &Object(TASK))),
    field("timeout_seconds", Int),
    field("usage_policy_id", Text),
    field("webhook_notifications", WEBHOOK_NOTIFICATIONS),
];

const PRINCIPAL: &[Field] =
    &[field("user_name", Text), field("group_name", Text), field("service_principal_name", Text)];

const ACCESS: &[Field] = &[
    field("user_name", Text),
    field("group_name", Text),
    field("service_principal_name", Text),
    field("permission_level", OneOf(&["CAN_MANAGE", "CAN_MANAGE_RUN", "CAN_VIEW", "IS_OWNER"])),
];

/// The fields of a task, and of the nested task of `for_each_task`.
pub(crate) const TASK: &[Field] = &[
    required("task_key", Text),
    field("compute", Open),
    field("depends_on", List(&Object(&[required("task_key", Text), field("outcome", Text)]))),
    field("description", Text),
    field("disable_auto_optimization", Bool),
    field("disabled", Bool),
    field("email_notifications", EMAIL_NOTIFICATIONS),
    field("environment_key", Text),
    field("environment_variables_key", Text),
    field("existing_cluster_id", Text),
    field("health", Open),
    field("libraries", List(&Object(LIBRARY))),
    field("max_retries", Int),
    field("min_retry_interval_millis", Int),
    field("new_cluster", Object(CLUSTER)),
    field("notification_settings", Open),
    field("retry_on_timeout", Bool),
    field(
        "run_if",
        OneOf(&[
            "ALL_DONE",
            "ALL_FAILED",
            "ALL_SUCCESS",
            "AT_LEAST_ONE_FAILED",
            "AT_LEAST_ONE_SUCCESS",
            "NONE_FAILED",
        ]),
    ),
    field("timeout_seconds", Int),
    field("webhook_notifications", WEBHOOK_NOTIFICATIONS),
    field("spark_python_task", Object(SPARK_PYTHON)),
    field("notebook_task", Object(NOTEBOOK)),
    field("spark_jar_task", Object(SPARK_JAR)),
    field("spark_submit_task", Object(&[field("parameters", TEXTS)])),
    field("python_wheel_task", Object(PYTHON_WHEEL)),
    field("sql_task", Object(SQL)),
    field("dbt_task", Object(DBT)),
    field("pipeline_task", Object(PIPELINE)),
    field("run_job_task", Object(RUN_JOB)),
    field("for_each_task", Object(FOR_EACH)),
    field("condition_task", Object(CONDITION)),
];

const EMAIL_NOTIFICATIONS: FieldType = Object(&[
    field("no_alert_for_skipped_runs", Bool),
    field("on_duration_warning_threshold_exceeded", TEXTS),
    field("on_failure", TEXTS),
    field("on_maintenance_complete", TEXTS),
    field("on_maintenance_start", TEXTS),
    field("on_start", TEXTS),
    field("on_streaming_backlog_exceeded", TEXTS),
    field("on_success", TEXTS),
]);

const WEBHOOK_NOTIFICATIONS: FieldType = Object(&[
    field("on_duration_warning_threshold_exceeded", WEBHOOKS),
    field("on_failure", WEBHOOKS),
    field("on_maintenance_complete", WEBHOOKS),
    field("on_maintenance_start", WEBHOOKS),
    field("on_start", WEBHOOKS),
    field("on_streaming_backlog_exceeded", WEBHOOKS),
    field("on_success", WEBHOOKS),
]);

const ENVIRONMENT_VARIABLES: &[Field] = &[
    required("environment_variables_key", Text),
    field("spec", Object(&[field("files", ListUpTo(5, &Text)), field("variables", TextMap)])),
];

const ENVIRONMENT: &[Field] = &[
    required("environment_key", Text),
    field(
        "spec",
        Object(&[
            field("base_environment", Text),
            field("client", Text),
            field("dependencies", TEXTS),
            field("environment_version", Text),
            field("java_dependencies", TEXTS),
            field("project_environment", Text),
        ]),
    ),
];

const GIT_SOURCE: &[Field] = &[
    required("git_url", Text),
    required("git_provider", OneOf(&GIT_PROVIDERS)),
    field("git_branch", Text),
    field("git_commit", Text),
    field("git_snapshot", Open),
    field("git_tag", Text),
    field("job_source", Open),
    field("sparse_checkout", Open),
];

const LIBRARY: &[Field] = &[
    field("cran", Open),
    field("egg", Text),
    field("jar", Text),
    field(
        "maven",
        Object(&[required("coordinates", Text), field("exclusions", TEXTS), field("repo", Text)]),
    ),
    field("pypi", Object(&[required("package", Text), field("repo", Text)])),
    field("requirements", Text),
    field("whl", Text),
];

const CLUSTER: &[Field] = &[
    field("apply_policy_default_values", Bool),
    field("autoscale", Object(&[field("max_workers", Int), field("min_workers", Int)])),
    field("autotermination_minutes", Int),
    field("aws_attributes", Open),
    field("azure_attributes", Open),
    field("cluster_log_conf", Open),
    field("cluster_name", Text),
    field("custom_tags", TextMap),
    field("data_security_mode", Text),
    field("dependency_mode", Text),
    field("docker_image", Object(&[field("basic_auth", Open), field("url", Text)])),
    field("driver_instance_pool_id", Text),
    field("driver_node_type_flexibility", Open),
    field("driver_node_type_id", Text),
    field("enable_elastic_disk", Bool),
    field("enable_local_disk_encryption", Bool),
    field("gcp_attributes", Open),
    field("init_scripts", OPENS),
    field("instance_pool_id", Text),
    field("is_single_node", Bool),
    field("kind", Text),
    field("node_type_id", Text),
    field("num_workers", Int),
    field("policy_id", Text),
    field("remote_disk_throughput", Int),
    field("runtime_engine", Text),
    field("single_user_name", Text),
    field("spark_conf", TextMap),
    field("spark_env_vars", TextMap),
    field("spark_version", Text),
    field("ssh_public_keys", TEXTS),
    field("total_initial_remote_disk_size", Int),
    field("use_ml_runtime", Bool),
    field("worker_node_type_flexibility", Open),
    field("workload_type", Open),
];

const SPARK_PYTHON: &[Field] =
    &[required("python_file", Text), field("parameters", TEXTS), field("source", SOURCE)];

const NOTEBOOK: &[Field] = &[
    required("notebook_path", Text),
    field("base_parameters", TextMap),
    field("source", SOURCE),
    field("warehouse_id", Text),
];

const SPARK_JAR: &[Field] = &[
    field("jar_uri", Text),
    field("main_class_name", Text),
    field("parameters", TEXTS),
    field("run_as_repl", Bool),
];

const PYTHON_WHEEL: &[Field] = &[
    required("package_name", Text),
    required("entry_point", Text),
    field("named_parameters", TextMap),
    field("parameters", TEXTS),
];

const SQL: &[Field] = &[
    required("warehouse_id", Text),
    field("alert", Open),
    field("dashboard", Open),
    field("file", Object(&[required("path", Text), field("source", SOURCE)])),
    field("parameters", TextMap),
    field("query", Object(&[required("query_id", Text)])),
];

const DBT: &[Field] = &[
    required("commands", ListUpTo(10, &Text)),
    field("catalog", Text),
    field("profiles_directory", Text),
    field("project_directory", Text),
    field("schema", Text),
    field("source", SOURCE),
    field("warehouse_id", Text),
];

const PIPELINE: &[Field] = &[
    required("pipeline_id", Text),
    field("full_refresh", Bool),
    field("full_refresh_selection", TEXTS),
    field("parameters", TextMap),
    field("refresh_flow_selection", TEXTS),
    field("refresh_selection", TEXTS),
    field("reset_checkpoint_selection", TEXTS),
];

const RUN_JOB: &[Field] = &[
    required("job_id", Int),
    field("dbt_commands", TEXTS),
    field("jar_params", TEXTS),
    field("job_parameters", TextMap),
    field("notebook_params", TextMap),
    field("pipeline_params", Open),
    field("python_named_params", TextMap),
    field("python_params", TEXTS),
    field("spark_submit_params", TEXTS),
    field("sql_params", TextMap),
];

const FOR_EACH: &[Field] =
    &[required("inputs", Text), required("task", Open), field("concurrency", Int)];

const CONDITION: &[Field] = &[
    required(
        "op",
        OneOf(&[
            "EQUAL_TO",
            "GREATER_THAN",
            "GREATER_THAN_OR_EQUAL",
            "LESS_THAN",
            "LESS_THAN_OR_EQUAL",
            "NOT_EQUAL",
        ]),
    ),
    required("left", Text),
    required("right", Text),
];
