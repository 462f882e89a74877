#![doc = include_str!("../README.md")]
//!
//! # Behaviour
//!
//! An [`Emulator`] listens on 127.0.0.1: on one port in plain HTTP, on another in HTTPS with a certificate that it
//! generates at every start. A submitted run moves through the steps of its [`Script`], and every endpoint responds as the
//! real service does, as far as that is known. The facts are those of `docs/reference/databricks-api.md`; assumptions are
//! listed [below](#assumptions-and-simplifications).
//!
//! Tests in other languages start the `databricks-emulator` program (see its `--help`) and use the
//! [admin API](#admin-api).
//!
//! # Supported endpoints
//!
//! | API versions | endpoints |
//! | --- | --- |
//! | 2.0, 2.1, 2.2 | `jobs/run-now`, `jobs/runs/` `submit`, `get`, `get-output`, `cancel`, `list`, `delete` |
//! | 2.0, 2.1 | `clusters/` `get`, `events` |
//! | 2.0 | `preview/scim/v2/Me`; `workspace/` `get-status`, `mkdirs`, `import`, `export`, `delete`; `dbfs/` `list`, `get-status`, `read`; reads of `fs/files/Volumes/…` and `fs/directories/Volumes/…`; `sql/statements` |
//! | | OAuth: `/oidc/v1/token`, discovery, and the token endpoints of Azure and Google below [`Emulator::cloud_url`] |
//!
//! Any other path or method is 404 `ENDPOINT_NOT_FOUND`.
//!
//! - **Tokens.** A missing token is 401 `UNAUTHENTICATED`. An unknown one is 403 with an HTML page.
//! - **Submit** (databricks-api.md#runs-submit). 2.2 takes `tasks[]`; 2.1 also one task at the top level; 2.0 only that.
//!   Bodies are validated as the service does: JSON types (an integer must not have a decimal point), required fields, enum
//!   values, task types, compute, environments, Git sources, paths, principals, limits. An invalid body is 400
//!   `INVALID_PARAMETER_VALUE`, one over 10 MiB is 413. Unknown keys are ignored and recorded in
//!   [`RecordedRequest::ignored_keys`]. Unknown task types run.
//! - **Runs** (databricks-api.md#runs-get). Responses contain the legacy `state` and the current `status`, a run id for
//!   each task, and in 2.2 pages of 100 tasks. A run whose code failed is `INTERNAL_ERROR` with result FAILED; the error is
//!   only in the output of its tasks.
//! - **Output** (databricks-api.md#runs-get-output) needs the id of a task run. The id of a run with `tasks[]` is rejected.
//! - **Cancel** (databricks-api.md#cancel). The run is TERMINATING for one step, then CANCELED. A terminated run does not
//!   change. The id of a task run cancels its run.
//! - **Idempotency** (databricks-api.md#idempotency-token). The same token returns the same run. The token of a deleted run
//!   is an error.
//! - **Saved jobs** (databricks-api.md#run-now) come from [`Emulator::save_job`].
//! - **Workspace files** (databricks-api.md#workspace-files). A file needs an existing folder in the user's home or an
//!   [`EmulatorBuilder::writable_folder`]; other paths are 403. `/Workspace/Users/…` and `/Users/…` are the same path.
//! - **Clusters** (databricks-api.md#clusters) are those that runs use. [`Script::cluster_termination`] sets their
//!   termination reason. Events are derived from the run: CREATING, RUNNING, `DRIVER_HEALTHY`, TERMINATING.
//! - **DBFS and volumes** (databricks-api.md#dbfs-read, databricks-api.md#files-api) contain what [`Emulator::put_file`],
//!   [`Emulator::append_file`] and [`Emulator::rename_file`] wrote. One DBFS read returns 1 MB at most. Volumes support
//!   `Range` and pages.
//! - **Delivered logs** (databricks-api.md#delivered-logs). [`Script::delivery`] delivers driver logs to the destination of
//!   `cluster_log_conf`; or a test appends to files in [`Emulator::log_folder`].
//! - **SQL statements** (databricks-api.md#sql-statements) at the warehouses of [`EmulatorBuilder::warehouse`]. No SQL is
//!   executed: [`Emulator::set_statement_script`] sets states and results. Results come inline or as external links, which
//!   reject bearer tokens. An unbound parameter marker fails the statement.
//!
//! # Executing tasks
//!
//! With [`EmulatorBuilder::exec`], a Python task whose file is in the workspace is executed as a local process,
//! `python FILE PARAMETERS…`, with the cluster's `spark_env_vars`. Its output becomes the `logs`. Exit code 0 is success; any
//! other is failed user code whose `error` is the last line of stderr. A cancel kills the process and its descendants, and so
//! do [`Emulator::shutdown`] and dropping the emulator. When `timeout_seconds` expires the run is TIMEDOUT. Libraries of the
//! task are not installed, and there is no Spark cluster: that Python must have everything that the file imports.
//!
//! # Fault injection
//!
//! A [`FaultRule`] has a fault, the calls or connections that it matches, and [`When`] to inject it. Set rules with
//! [`EmulatorBuilder::faults`], [`Emulator::inject`], the flags `--faults` and `--fault`, or the admin API. Rules are tried
//! in order; the first that injects a fault wins. [`Emulator::fault_count`] counts by rule name, and
//! [`RecordedRequest::fault`] names the rule. Random faults are reproducible: the same seed and the same calls give the same
//! faults. [`Emulator::answer_next`] is a shortcut for a [`CannedResponse`] to the next calls.
//!
//! In JSON ([`FaultPlan`]) a rule has `on`, and either `fault` or `script`. A `fault` is injected always, `times` times, or
//! with a `probability`. A `script` is a list of faults, with `null` for calls without one. Optional: `name`, and `run_name`
//! or `run_id` to match the calls for one run only.
//!
//! ```json
//! {"seed": 7, "rules": [
//!     {"name": "lost", "on": ["submit_run"], "times": 1, "fault": "drop_after"},
//!     {"name": "busy", "on": "calls", "probability": 0.1, "fault": {"rate_limited": {"seconds": 1}}},
//!     {"on": ["get_run"], "run_name": "etl", "script": [null, {"earlier_state": 1}, "run_deleted"]},
//!     {"on": "connections", "times": 2, "fault": "untrusted_certificate"}
//! ]}
//! ```
//!
//! | `on` | faults |
//! | --- | --- |
//! | `"calls"`, or a list of [`Endpoint`]s | [`Fault`]: `{"answer": {"status", "body", "headers", "content_type"}}`, `{"rate_limited": "unsaid"}` (no `Retry-After`), `{"rate_limited": {"seconds": 1}}`, `{"rate_limited": {"date_in": 1}}`, `{"redirect": "/login.html"}`, `"drop_before"`, `"drop_after"`, `{"delay_before_ms": 50}`, `{"delay_after_ms": 50}`, `{"slow_body": {"piece": 8, "pause_ms": 20}}`, `{"cut_body": 10}`, `{"content_type": "text/html"}`, `{"token_clock": {"ahead_seconds": 60}}`, `{"token_clock": {"behind_seconds": 60}}` |
//! | a list of `"get_run"`, `"get_run_output"`, `"cancel_run"` only | those, `"run_deleted"`, and without `"cancel_run"` also `{"earlier_state": 1}` |
//! | `"connections"`: new HTTPS connections | [`ConnectionFault`]: `"closed"`, `"not_tls"`, `"untrusted_certificate"`, `"expired_certificate"` |
//!
//! # Admin API
//!
//! Both listeners also serve these calls, without a token. Bodies are the JSON form of the library's types.
//!
//! | call | effect |
//! | --- | --- |
//! | `PUT /emulator/v1/scripts/{run_name}` | sets the [`Script`] of runs with this name that are submitted from now on; 204 |
//! | `PUT /emulator/v1/warehouses/{id}` | adds a SQL warehouse; 204 |
//! | `POST /emulator/v1/statements` | `{"containing": "…", "script": …}` sets the [`StatementScript`] of statements that contain the text; 204 |
//! | `GET /emulator/v1/statements` | lists statements, as [`StatementSummary`] |
//! | `PUT /emulator/v1/faults` | replaces all fault rules and counts by a [`FaultPlan`]; 204 |
//! | `POST /emulator/v1/faults` | adds a [`FaultRule`]; 204 |
//! | `GET /emulator/v1/faults` | lists the number of injected faults by rule, as [`FaultCount`] |
//! | `DELETE /emulator/v1/faults/{name}` | removes the rules with this name; 204 |
//! | `GET /emulator/v1/requests` | lists the latest 10,000 requests to the workspace API, as [`RecordedRequest`] |
//! | `GET /emulator/v1/runs` | lists runs, as [`RunSummary`] |
//! | `POST /emulator/v1/runs/{run_id}/advance` | moves a run one step and returns its [`RunSummary`] |
//! | `DELETE /emulator/v1/runs/{run_id}` | deletes a run, active or not; 204 |
//!
//! # Assumptions and simplifications
//!
//! Assumed, because not documented: the status of a body that is too large (413); the `task_key` of a run submitted without
//! tasks (`main`); a 2.0 run has no `tasks` and returns its own output; `get-output` of a running task returns only the
//! metadata; the termination type of a timeout (`CLIENT_ERROR`); an unknown warehouse is 404 `RESOURCE_DOES_NOT_EXIST`; a
//! SQL parameter that does not fit its type is 400.
//!
//! Simplified: `max_retries` starts no further attempt; a task with `depends_on` is BLOCKED until the run ends; the run of a
//! saved job looks like a submitted one.

#![forbid(unsafe_code)]

mod api;
mod builder;
mod clock;
mod emulator;
mod faults;
mod http;
mod jobs;
mod oauth;
mod sql;
mod start_error;
mod state;
mod storage;

pub use api::endpoint::{ApiVersion, Endpoint};
pub use api::request_log::{RecordedAuthorization, RecordedRequest};
pub use builder::{DEFAULT_TOKEN, EmulatorBuilder};
pub use emulator::Emulator;
pub use faults::{
    Calls, CannedResponse, ConnectionFault, Fault, FaultCount, FaultPlan, FaultPlanError,
    FaultRule, Probability, RetryAfter, RunCall, RunCalls, RunFault, SlowBody, TokenClock, When,
};
pub use jobs::exec::ExecConfig;
pub use jobs::run::RunSummary;
pub use jobs::script::{
    ClusterTermination, LifeCycle, LogDelivery, Outcome, Pace, Script, StateForm, Step, TaskScript,
    Termination,
};
pub use sql::{StatementOutcome, StatementRows, StatementScript, StatementSummary};
pub use start_error::StartError;

// Types of other crates in public signatures.
pub use axum::http::HeaderValue;
pub use serde_json;
