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
    /// One of these strings, which are separated by spaces.
    OneOf(&'static str),
    /// An object with these fields. Others are ignored.
    Object(Fields),
    /// An object whose values are strings.
    TextMap,
    /// An array.
    List(&'static Self),
    /// An array with at most this many elements.
    ListUpTo(usize, &'static Self),
}

/// The fields of an object, by type. The names are separated by spaces, and those of required fields end in `!`.
pub(crate) type Fields = &'static [(FieldType, &'static str)];

/// One field of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: FieldType,
    pub(super) required: bool,
}

pub(super) fn each(fields: Fields) -> impl Iterator<Item = Field> {
    fields.iter().flat_map(|(kind, names)| {
        names.split_ascii_whitespace().map(|name| Field {
            name: name.trim_end_matches('!'),
            kind: *kind,
            required: name.ends_with('!'),
        })
    })
}

/// True if one of the fields has this name.
pub(crate) fn contains(fields: Fields, name: &str) -> bool {
    each(fields).any(|field| field.name == name)
}

use FieldType::{Bool, Int, List, ListUpTo, Object, OneOf, Open, Text, TextMap};

const TEXTS: FieldType = List(&Text);
const WEBHOOKS: FieldType = ListUpTo(3, &Open);
const SOURCE: FieldType = OneOf("GIT WORKSPACE");

/// The largest number of tasks in one run.
const MAX_TASKS: usize = 1000;

/// The fields of a run.
pub(crate) const RUN: Fields = &[
    (Text, "budget_policy_id idempotency_token run_name usage_policy_id"),
    (Int, "timeout_seconds"),
    (Open, "health notification_settings"),
    (OneOf("NO_FLEXIBILITY 4h 12h 24h 72h"), "duration_target"),
    (OneOf("PERFORMANCE_OPTIMIZED STANDARD COST_OPTIMIZED"), "performance_target"),
    (List(&Object(ACCESS)), "access_control_list"),
    (Object(EMAIL_NOTIFICATIONS), "email_notifications"),
    (ListUpTo(10, &Object(ENVIRONMENT_VARIABLES)), "environment_variables"),
    (List(&Object(ENVIRONMENT)), "environments"),
    (Object(GIT_SOURCE), "git_source"),
    (Object(&[(Bool, "enabled!")]), "queue"),
    (Object(&[(Text, PRINCIPALS)]), "run_as"),
    (ListUpTo(MAX_TASKS, &Object(TASK)), "tasks"),
    (Object(WEBHOOK_NOTIFICATIONS), "webhook_notifications"),
];

const PRINCIPALS: &str = "user_name group_name service_principal_name";

const ACCESS: Fields = &[
    (Text, PRINCIPALS),
    (OneOf("CAN_MANAGE CAN_MANAGE_RUN CAN_VIEW IS_OWNER"), "permission_level"),
];

/// The fields of a task, and of the nested task of `for_each_task`.
pub(crate) const TASK: Fields = &[
    (Text, "task_key! description environment_key environment_variables_key existing_cluster_id"),
    (Bool, "disable_auto_optimization disabled retry_on_timeout"),
    (Int, "max_retries min_retry_interval_millis timeout_seconds"),
    (Open, "compute health notification_settings"),
    (OneOf(RUN_IF), "run_if"),
    (List(&Object(&[(Text, "task_key! outcome")])), "depends_on"),
    (Object(EMAIL_NOTIFICATIONS), "email_notifications"),
    (List(&Object(LIBRARY)), "libraries"),
    (Object(CLUSTER), "new_cluster"),
    (Object(WEBHOOK_NOTIFICATIONS), "webhook_notifications"),
    (Object(SPARK_PYTHON), "spark_python_task"),
    (Object(NOTEBOOK), "notebook_task"),
    (Object(SPARK_JAR), "spark_jar_task"),
    (Object(&[(TEXTS, "parameters")]), "spark_submit_task"),
    (Object(PYTHON_WHEEL), "python_wheel_task"),
    (Object(SQL), "sql_task"),
    (Object(DBT), "dbt_task"),
    (Object(PIPELINE), "pipeline_task"),
    (Object(RUN_JOB), "run_job_task"),
    (Object(FOR_EACH), "for_each_task"),
    (Object(CONDITION), "condition_task"),
];

const RUN_IF: &str =
    "ALL_DONE ALL_FAILED ALL_SUCCESS AT_LEAST_ONE_FAILED AT_LEAST_ONE_SUCCESS NONE_FAILED";

const NOTIFICATIONS: &str = "on_duration_warning_threshold_exceeded on_failure on_maintenance_complete \
    on_maintenance_start on_start on_streaming_backlog_exceeded on_success";

const EMAIL_NOTIFICATIONS: Fields = &[(Bool, "no_alert_for_skipped_runs"), (TEXTS, NOTIFICATIONS)];

const WEBHOOK_NOTIFICATIONS: Fields = &[(WEBHOOKS, NOTIFICATIONS)];

const ENVIRONMENT_VARIABLES: Fields = &[
    (Text, "environment_variables_key!"),
    (Object(&[(ListUpTo(5, &Text), "files"), (TextMap, "variables")]), "spec"),
];

const ENVIRONMENT: Fields = &[(Text, "environment_key!"), (Object(ENVIRONMENT_SPEC), "spec")];

const ENVIRONMENT_SPEC: Fields = &[
    (Text, "base_environment client environment_version project_environment"),
    (TEXTS, "dependencies java_dependencies"),
];

const GIT_SOURCE: Fields = &[
    (Text, "git_url! git_branch git_commit git_tag"),
    (OneOf(GIT_PROVIDERS), "git_provider!"),
    (Open, "git_snapshot job_source sparse_checkout"),
];

const GIT_PROVIDERS: &str = "gitHub bitbucketCloud azureDevOpsServices gitHubEnterprise bitbucketServer gitLab \
    gitLabEnterpriseEdition awsCodeCommit";

const LIBRARY: Fields = &[
    (Text, "egg jar requirements whl"),
    (Open, "cran"),
    (Object(&[(Text, "coordinates! repo"), (TEXTS, "exclusions")]), "maven"),
    (Object(&[(Text, "package! repo")]), "pypi"),
];

const CLUSTER: Fields = &[
    (
        Text,
        "cluster_name data_security_mode dependency_mode driver_instance_pool_id driver_node_type_id instance_pool_id \
         kind node_type_id policy_id runtime_engine single_user_name spark_version",
    ),
    (
        Bool,
        "apply_policy_default_values enable_elastic_disk enable_local_disk_encryption is_single_node use_ml_runtime",
    ),
    (
        Int,
        "autotermination_minutes num_workers remote_disk_throughput total_initial_remote_disk_size",
    ),
    (
        Open,
        "aws_attributes azure_attributes cluster_log_conf driver_node_type_flexibility gcp_attributes \
         worker_node_type_flexibility workload_type",
    ),
    (TextMap, "custom_tags spark_conf spark_env_vars"),
    (TEXTS, "ssh_public_keys"),
    (List(&Open), "init_scripts"),
    (Object(&[(Int, "max_workers min_workers")]), "autoscale"),
    (Object(&[(Open, "basic_auth"), (Text, "url")]), "docker_image"),
];

const SPARK_PYTHON: Fields = &[(Text, "python_file!"), (TEXTS, "parameters"), (SOURCE, "source")];

const NOTEBOOK: Fields =
    &[(Text, "notebook_path! warehouse_id"), (TextMap, "base_parameters"), (SOURCE, "source")];

const SPARK_JAR: Fields =
    &[(Text, "jar_uri main_class_name"), (TEXTS, "parameters"), (Bool, "run_as_repl")];

const PYTHON_WHEEL: Fields =
    &[(Text, "package_name! entry_point!"), (TextMap, "named_parameters"), (TEXTS, "parameters")];

const SQL: Fields = &[
    (Text, "warehouse_id!"),
    (Open, "alert dashboard"),
    (Object(&[(Text, "path!"), (SOURCE, "source")]), "file"),
    (TextMap, "parameters"),
    (Object(&[(Text, "query_id!")]), "query"),
];

const DBT: Fields = &[
    (ListUpTo(10, &Text), "commands!"),
    (Text, "catalog profiles_directory project_directory schema warehouse_id"),
    (SOURCE, "source"),
];

const PIPELINE: Fields = &[
    (Text, "pipeline_id!"),
    (Bool, "full_refresh"),
    (
        TEXTS,
        "full_refresh_selection refresh_flow_selection refresh_selection reset_checkpoint_selection",
    ),
    (TextMap, "parameters"),
];

const RUN_JOB: Fields = &[
    (Int, "job_id!"),
    (TEXTS, "dbt_commands jar_params python_params spark_submit_params"),
    (TextMap, "job_parameters notebook_params python_named_params sql_params"),
    (Open, "pipeline_params"),
];

const FOR_EACH: Fields = &[(Text, "inputs!"), (Open, "task!"), (Int, "concurrency")];

const CONDITION: Fields = &[(OneOf(COMPARISONS), "op!"), (Text, "left! right!")];

const COMPARISONS: &str =
    "EQUAL_TO GREATER_THAN GREATER_THAN_OR_EQUAL LESS_THAN LESS_THAN_OR_EQUAL NOT_EQUAL";
