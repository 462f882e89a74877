//! A fake Databricks workspace over HTTP and HTTPS, for tests, demos and users' own CI.
//!
//! An [`Emulator`] listens on 127.0.0.1, on one port in plain HTTP and on one with TLS, under a certificate that it makes
//! for itself at every start. It keeps state: what is submitted becomes a run, the run moves through the steps of its
//! [`Script`], and every call answers as the real service does, as far as that is known. The facts are those of the
//! project's Databricks reference, cited as DA with their section; what is not documented there is marked below.
//!
//! ```
//! use databricks_emulator::{Emulator, Script};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let emulator = Emulator::builder().token("dapi-test").start().await?;
//! emulator.script("nightly", Script::failed("ValueError: no such table", "Traceback …"));
//!
//! // Point a client at emulator.http_url(), or at emulator.https_host() with emulator.certificate_pem() as its root.
//! let answer = reqwest::Client::builder().no_proxy().build()?
//!     .post(format!("{}/api/2.2/jobs/runs/submit", emulator.http_url()))
//!     .bearer_auth("dapi-test")
//!     .json(&serde_json::json!({
//!         "run_name": "nightly",
//!         "tasks": [{"task_key": "main",
//!                    "existing_cluster_id": "0801-120000-abcdefgh",
//!                    "spark_python_task": {"python_file": "dbfs:/etl.py"}}]
//!     }))
//!     .send().await?;
//! assert_eq!(answer.status(), 200);
//! assert_eq!(emulator.runs()[0].life_cycle, "QUEUED");
//! emulator.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What it answers
//!
//! Under `/api/2.0`, `/api/2.1` and `/api/2.2`: `jobs/run-now` and `jobs/runs/submit`, `get`, `get-output`, `cancel`,
//! `list` and `delete`; under `/api/2.0` also `preview/scim/v2/Me` and `workspace/get-status`, `mkdirs`, `import`,
//! `export` and `delete`, `dbfs/list`, `get-status` and `read`, `fs/files/Volumes/…` and `fs/directories/Volumes/…` for
//! reading; under `/api/2.0` and `/api/2.1` `clusters/get` and `clusters/events`. Any other path or method is 404
//! `ENDPOINT_NOT_FOUND`.
//!
//! - **Tokens** (DA §3.5, §10.3). None is 401 UNAUTHENTICATED; one that is not known is 403 with a page of HTML.
//! - **Submit** (DA §1.1, §1.2). 2.2 takes `tasks[]`; 2.1 also the keys of one task at the top; 2.0 only those. A body is
//!   refused with `INVALID_PARAMETER_VALUE` for a field of the wrong JSON type, an integer written with a decimal point
//!   among them, and for what the reference says is refused: no or a repeated `task_key`, no task type or two, two kinds
//!   of compute, serverless Python, wheel or dbt work without an `environment_key`, one that is not in `environments` or
//!   is on a notebook, `git_source` without `git_provider`, source GIT without `git_source`, an absolute path in a
//!   repository or a relative one elsewhere, `job_clusters`, an `idempotency_token` over 64 characters, no or two
//!   principals, more than 45 tags, variables beyond their limits. A body over 10 MiB is 413. Unknown keys are ignored, and recorded in
//!   [`RecordedRequest::ignored_keys`]; unknown task types run.
//! - **Runs** (DA §1.3, §2). The legacy `state` and the current `status` both, a run id for each task, 100 tasks a page in
//!   2.2. A run whose code failed is `INTERNAL_ERROR` with result FAILED, and says why only in its tasks' output.
//! - **Output** (DA §1.4) is for task runs. The id of a run with `tasks[]` is refused.
//! - **Cancel** (DA §3.2) answers `{}` at once; the run is TERMINATING for one step, then CANCELED. It changes nothing
//!   about a run that has ended. The id of a task run cancels the run around it.
//! - **Saved jobs** (DA §1.7) are those of [`Emulator::save_job`]. A run of one submits its settings
//!   with the parameters of the call in their places: at most 10,000 bytes each, ASCII for Python and spark-submit, and
//!   `jar_params` never with `notebook_params`.
//! - **Files** (DA §10.1). A file needs its folder, is overwritten only when that is asked for, and goes to the user's
//!   home or an [`EmulatorBuilder::writable_folder`]; elsewhere the answer is 403. `/Workspace/Users/…` is `/Users/…`.
//! - **Clusters** (DA §1.10) are those that runs work on. Why they ended is [`Script::cluster_termination`].
//!   Events are those that the life of the run tells: CREATING, RUNNING, `DRIVER_HEALTHY`, TERMINATING.
//! - **Files of DBFS and of volumes** (DA §1.11, §1.12) are those of [`Emulator::put_file`], [`Emulator::append_file`] and
//!   [`Emulator::rename_file`]. One read of DBFS gives 1 MB at most; volumes know `Range` and pages.
//! - **Delivered logs** (DA §5.1). A cluster shows its `cluster_log_conf`; [`Emulator::log_folder`] tells where its logs
//!   belong, and the test that plays the driver appends to them there and rotates them; or [`Script::delivery`] does.
//! - **SQL statements** (DA §1.13) at the warehouses of [`EmulatorBuilder::warehouse`]: polled through PENDING and RUNNING,
//!   cancelled, with results in chunks, inside of the answer or behind links that refuse a bearer token. Nothing is
//!   executed: [`Emulator::script_statements`] says what comes of a statement. A marker without a value fails.
//! - **Idempotency** (DA §3.1). The same token answers the same run, ended or not; a deleted run's token is an error.
//! - **List** (DA §1.5). `runs` is absent when there is none, and `active_only` covers the four states that it names.
//!
//! Assumed, because no source tells: the status of a body that is too large (413), the `task_key` of a run submitted
//! without tasks (`main`), that a 2.0 run has no `tasks` and answers its output itself, what `get-output` shows of a task
//! that still runs (the metadata), the termination type of a timeout (`CLIENT_ERROR`), the answers about a warehouse that
//! is not there (404 `RESOURCE_DOES_NOT_EXIST`) and about a parameter that does not fit its type (400).
//!
//! Simplified: `max_retries` starts no attempt, a task with `depends_on` is BLOCKED until the run ends, the run of a saved
//! job looks as a submitted one does.
//!
//! # Real work
//!
//! With [`EmulatorBuilder::exec`] a Python task whose file is in the workspace is executed: `python file parameters…`,
//! with the cluster's `spark_env_vars`, in a process of its own. Its output is the `logs`, exit code 0 is success, and any
//! other is failed code whose `error` is the last line of stderr. A cancel kills it with all that it started, and so do
//! [`Emulator::shutdown`] and the drop of the emulator. `timeout_seconds` does, too, and
//! the run is TIMEDOUT. Not so: the task's libraries, and a cluster's Spark; what the file needs has to be in that Python.
//!
//! # Faults
//!
//! A [`FaultRule`] says what goes wrong, with which calls or connections, and [`When`]. Rules come with
//! [`EmulatorBuilder::faults`], [`Emulator::inject`], `--faults` and `--fault` of the program, or from outside; they are
//! asked in their order, and the first that strikes is the only one. [`Emulator::struck`] counts by the rule's name, and
//! [`RecordedRequest::fault`] names the rule that struck a call. The same seed and the same calls give the same faults,
//! however fast the calls come. [`Emulator::answer_next`] is the short form for a [`CannedAnswer`] to the next calls.
//!
//! As JSON ([`FaultPlan`]) a rule has `on`, perhaps `name`, `run_name` or `run_id`, and either `script`, a list of faults
//! with `null` where all goes well, or `fault`, which strikes always, the next `times`, or with a `probability`:
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
//! | `"calls"`, or a list of [`Endpoint`]s | [`Fault`]: `{"answer": {"status", "body", "headers", "content_type"}}`, `{"rate_limited": "unsaid"}`, `{"rate_limited": {"seconds": 1}}`, `{"rate_limited": {"date_in": 1}}`, `{"redirect": "/login.html"}`, `"drop_before"`, `"drop_after"`, `{"delay_before_ms": 50}`, `{"delay_after_ms": 50}`, `{"slow_body": {"piece": 8, "pause_ms": 20}}`, `{"cut_body": 10}`, `{"content_type": "text/html"}`, `{"token_clock": {"ahead_seconds": 60}}`, `{"token_clock": {"behind_seconds": 60}}` |
//! | a list of `"get_run"`, `"get_run_output"`, `"cancel_run"` alone | those, `"run_deleted"`, and without `"cancel_run"` also `{"earlier_state": 1}` |
//! | `"connections"`: new ones for HTTPS | [`ConnectionFault`]: `"closed"`, `"not_tls"`, `"untrusted_certificate"`, `"expired_certificate"` |
//!
//! # The same from outside the process
//!
//! Both listeners answer these calls too, without a token. Bodies and answers are JSON; the types are those of the
//! library.
//!
//! | call | effect |
//! | --- | --- |
//! | `PUT /emulator/v1/scripts/{run_name}` | the body, a [`Script`], is for runs of that name submitted from now on; 204 |
//! | `PUT /emulator/v1/warehouses/{id}` | one more SQL warehouse; 204 |
//! | `POST /emulator/v1/statements` | `{"containing": "…", "script": …}`: a [`StatementScript`] for the statements that contain the words; 204 |
//! | `GET /emulator/v1/statements` | every statement, as [`StatementSummary`] |
//! | `PUT /emulator/v1/faults` | the body, a [`FaultPlan`], is in force from now on; every rule and count before is forgotten; 204 |
//! | `POST /emulator/v1/faults` | the body is one more [`FaultRule`]; 204 |
//! | `GET /emulator/v1/faults` | how often each rule struck, as [`FaultCount`] |
//! | `DELETE /emulator/v1/faults/{name}` | takes the rules of that name out of force; 204 |
//! | `GET /emulator/v1/requests` | the latest 10,000 calls of the workspace, as [`RecordedRequest`] |
//! | `GET /emulator/v1/runs` | every run, as [`RunSummary`] |
//! | `POST /emulator/v1/runs/{run_id}/advance` | moves the run one step, and answers its [`RunSummary`] |
//! | `DELETE /emulator/v1/runs/{run_id}` | forgets the run, active or not; 204 |

#![forbid(unsafe_code)]

mod answers;
mod api;
mod authority;
mod builder;
mod clock;
mod connection;
mod delivery;
mod emulator;
mod ending;
mod endpoint;
mod exec;
mod faults;
mod files;
mod recorded;
mod refusal;
mod schema;
mod script;
mod statements;
mod storage;
mod timeline;
mod tls;
mod validate;
mod workspace;

pub use axum::http::HeaderValue;
pub use builder::{DEFAULT_TOKEN, EmulatorBuilder, StartError};
pub use emulator::Emulator;
pub use endpoint::{ApiVersion, Endpoint};
pub use exec::ExecConfig;
pub use faults::{
    Calls, CannedAnswer, ConnectionFault, Dribble, Fault, FaultCount, FaultPlan, FaultPlanError,
    FaultRule, Probability, RetryAfter, RunCall, RunCalls, RunFault, TokenClock, When,
};
pub use recorded::{AuthorizationSeen, RecordedRequest};
pub use script::{
    ClusterTermination, LifeCycle, LogDelivery, Outcome, Pace, Script, StateForm, Step, TaskScript,
    Termination,
};
pub use statements::{StatementOutcome, StatementRows, StatementScript, StatementSummary};
pub use workspace::RunSummary;
