//! The handle of a running emulator.

use crate::api::endpoint::Endpoint;
use crate::api::request_log::RecordedRequest;
use crate::builder::EmulatorSettings;
use crate::faults::{Calls, CannedResponse, Fault, FaultCount, FaultPlan, FaultRule, When};
use crate::http;
use crate::http::certificates::Certificates;
use crate::http::fault_middleware::drop_or_respond;
use crate::http::tls_acceptor::FaultAcceptor;
use crate::jobs::run::RunSummary;
use crate::jobs::script::{Outcome, Script};
use crate::sql::{StatementScript, StatementSummary};
use crate::start_error::StartError;
use crate::state::AppState;
use axum::ServiceExt;
use axum::extract::Request;
use axum_server::Handle;
use serde_json::Value;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tower::util::MapResult;

/// How long [`Emulator::shutdown`] waits for calls in flight.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A fake Databricks workspace that listens on 127.0.0.1.
///
/// Dropping it closes every connection and kills executed tasks. [`shutdown`](Self::shutdown) first lets calls in flight
/// finish, and waits for executed tasks to exit.
pub struct Emulator {
    state: Arc<AppState>,
    http: Listener,
    https: Listener,
    certificates: Arc<Certificates>,
}

struct Listener {
    address: SocketAddr,
    handle: Handle<SocketAddr>,
    task: JoinHandle<()>,
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator")
            .field("http", &self.http.address)
            .field("https", &self.https.address)
            .finish_non_exhaustive()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        for listener in [&self.http, &self.https] {
            listener.handle.shutdown();
            listener.task.abort();
        }
        self.state.runs.stop_executions();
    }
}

impl Emulator {
    pub(crate) async fn start(
        settings: EmulatorSettings,
        certificates: Arc<Certificates>,
    ) -> Result<Self, StartError> {
        let http = bind("HTTP", settings.http_port)?;
        let https = bind("HTTPS", settings.https_port)?;
        let https_base = format!("https://localhost:{}", https.address.port());
        let state = Arc::new(AppState::new(settings, https_base));
        let router = MapResult::new(http::router(Arc::clone(&state)), drop_or_respond);
        let service = ServiceExt::<Request>::into_make_service(router);

        let (handle, address) = (Handle::new(), http.address);
        let server = http.server()?.handle(handle.clone());
        let task = tokio::spawn(log_error(server.serve(service.clone())));
        let http = Listener { address, handle, task };

        let (handle, address) = (Handle::new(), https.address);
        let acceptor = FaultAcceptor::new(&state, &certificates);
        let server = https.server()?.handle(handle.clone()).acceptor(acceptor);
        let task = tokio::spawn(log_error(server.serve(service)));
        let https = Listener { address, handle, task };

        for listener in [&http, &https] {
            listener.handle.listening().await;
        }
        Ok(Self { state, http, https, certificates })
    }

    /// Stops the emulator gracefully.
    ///
    /// Stops listening, waits up to five seconds for calls in flight, kills executed tasks, and returns when everything
    /// is closed.
    pub async fn shutdown(mut self) {
        for listener in [&self.http, &self.https] {
            listener.handle.graceful_shutdown(Some(SHUTDOWN_TIMEOUT));
        }
        for listener in [&mut self.http, &mut self.https] {
            if let Err(error) = (&mut listener.task).await {
                tracing::warn!(%error, "listener task failed");
            }
        }
        self.state.runs.stop_executions();
        let state = Arc::clone(&self.state);
        let joined = tokio::task::spawn_blocking(move || state.runs.join_executions()).await;
        if let Err(error) = joined {
            tracing::error!(%error, "failed to wait for executed tasks");
        }
    }

    /// Returns the URL of the plain HTTP listener, `http://127.0.0.1:PORT`.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.http.address)
    }

    /// Returns the host of the HTTPS listener, `localhost:PORT`. Clients use it as the workspace host.
    pub fn https_host(&self) -> String {
        format!("localhost:{}", self.https.address.port())
    }

    /// Returns the root certificate that HTTPS clients must trust, as PEM. It is new at every start.
    pub fn certificate_pem(&self) -> &str {
        &self.certificates.root_pem
    }

    pub(crate) fn certificates(&self) -> Arc<Certificates> {
        Arc::clone(&self.certificates)
    }

    /// Sets the script of runs with this name that are submitted from now on.
    pub fn set_script(&self, run_name: &str, script: Script) {
        self.state.runs.set_script(run_name, script);
    }

    /// Sets the script of SQL statements that contain this text and are submitted from now on. If several match, the
    /// latest wins.
    pub fn set_statement_script(&self, containing: &str, script: StatementScript) {
        self.state.statements.set_script(containing.to_owned(), script);
    }

    /// Sets the base URL of external links, such as `https://storage.example`. The default is the emulator itself.
    pub fn set_external_link_base(&self, base: &str) {
        self.state.statements.set_link_base(base.to_owned());
    }

    /// Returns every accepted SQL statement, oldest first.
    pub fn statements(&self) -> Vec<StatementSummary> {
        self.state.statements.summaries()
    }

    /// Returns the latest 10,000 calls of the workspace API, oldest first, including rejected ones.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state.request_log.all()
    }

    /// Returns the latest 10,000 request bodies that started a run, oldest first.
    ///
    /// A body that repeats an `idempotency_token` starts no run and is not included.
    pub fn submissions(&self) -> Vec<Value> {
        self.state.runs.submissions()
    }

    /// Returns every run, oldest first.
    pub fn runs(&self) -> Vec<RunSummary> {
        self.state.runs.summaries()
    }

    /// Returns a run, or `None` if it is unknown or deleted. This does not count as a poll.
    pub fn run(&self, run_id: i64) -> Option<RunSummary> {
        self.state.runs.summary(run_id)
    }

    /// Moves a run one step, regardless of its pace, and returns it. Returns `None` for an unknown run.
    pub fn advance(&self, run_id: i64) -> Option<RunSummary> {
        self.state.runs.advance(run_id)
    }

    /// Ends an active run with this outcome instead of its script's, and returns it. Returns `None` for an unknown run.
    ///
    /// A run that has ended or is cancelled does not change. A run whose process is running ends with the process.
    pub fn end_run(&self, run_id: i64, outcome: Outcome) -> Option<RunSummary> {
        self.state.runs.end(run_id, outcome)
    }

    /// Deletes a run, active or not, as retention does after 60 days (databricks-api.md#runs-get-output).
    ///
    /// Returns true if the run existed. Its `idempotency_token` is rejected from now on
    /// (databricks-api.md#idempotency-token).
    pub fn delete_run(&self, run_id: i64) -> bool {
        self.state.runs.remove(run_id)
    }

    /// Saves a job for `jobs/run-now`. `settings` holds `tasks` and optionally `run_name`.
    pub fn save_job(&self, job_id: i64, settings: serde_json::Map<String, Value>) {
        self.state.runs.save_job(job_id, settings);
    }

    /// Makes every token that was minted so far expire after `left`.
    pub fn expire_tokens_in(&self, left: Duration) {
        self.state.token_issuer.expire_in(left);
    }

    /// Returns the number of tokens minted since the start.
    pub fn tokens_minted(&self) -> usize {
        self.state.token_issuer.minted_count()
    }

    /// Returns the base URL of the emulated cloud token endpoints.
    pub fn cloud_url(&self) -> String {
        format!("{}/emulator/cloud", self.http_url())
    }

    /// Writes a workspace file, replacing any existing one.
    pub fn put_workspace_file(&self, path: &str, content: impl Into<Vec<u8>>) {
        self.state.workspace_files.put(path, content.into());
    }

    /// Returns the content of a workspace file, or `None` if it does not exist.
    pub fn workspace_file(&self, path: &str) -> Option<Vec<u8>> {
        self.state.workspace_files.content(path)
    }

    /// Writes a file in DBFS or, below `/Volumes`, in a volume, replacing any existing one.
    pub fn put_file(&self, path: &str, content: impl Into<Vec<u8>>) {
        self.state.data_files.put(path, content.into());
    }

    /// Appends to a file in DBFS or a volume, creating it if necessary.
    pub fn append_file(&self, path: &str, content: impl AsRef<[u8]>) {
        self.state.data_files.append(path, content.as_ref());
    }

    /// Renames a file in DBFS or a volume, as log rotation does. Returns true if the file existed.
    pub fn rename_file(&self, from: &str, to: &str) -> bool {
        self.state.data_files.rename(from, to)
    }

    /// Returns the content of a file in DBFS or a volume, or `None` if it does not exist.
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.state.data_files.content(path)
    }

    /// Returns the folder to which the cluster of a task delivers its driver logs (databricks-api.md#delivered-logs).
    ///
    /// That is the destination of the task's `cluster_log_conf`, then the cluster id, then `driver`. Returns `None` for a
    /// task without `cluster_log_conf`, and before the cluster is requested.
    pub fn log_folder(&self, run_id: i64, task_key: &str) -> Option<String> {
        self.state.runs.log_folder(run_id, task_key)
    }

    /// Replaces all fault rules and resets their counts.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.state.faults.set_plan(plan);
    }

    /// Adds a fault rule after the existing ones. The first matching rule wins.
    pub fn inject(&self, rule: FaultRule) {
        self.state.faults.add(rule);
    }

    /// Removes the rules with this name and keeps their count. Returns true if there was one.
    pub fn remove_fault(&self, name: &str) -> bool {
        self.state.faults.remove(name)
    }

    /// Returns how often the rules with this name injected a fault.
    pub fn fault_count(&self, name: &str) -> u64 {
        self.state.faults.count(name)
    }

    /// Returns how often each rule injected a fault, sorted by name.
    pub fn fault_counts(&self) -> Vec<FaultCount> {
        self.state.faults.counts()
    }

    /// Answers the next `times` calls of an endpoint with this response; the calls have no effect.
    ///
    /// Several responses are used in the order in which they were added. They count as fault `answer_next`.
    pub fn answer_next(&self, endpoint: Endpoint, response: CannedResponse, times: u32) {
        if let Some(times) = NonZeroU32::new(times) {
            let when = When::Next(times, Fault::Answer(response));
            self.inject(FaultRule::on_calls(Calls::to([endpoint]), when).named("answer_next"));
        }
    }
}

struct BoundListener {
    scheme: &'static str,
    address: SocketAddr,
    socket: TcpListener,
}

impl BoundListener {
    fn server(self) -> Result<axum_server::Server<SocketAddr>, StartError> {
        let Self { scheme, address, socket } = self;
        axum_server::from_tcp(socket).map_err(|source| StartError::Listen {
            scheme,
            port: address.port(),
            source,
        })
    }
}

fn bind(scheme: &'static str, port: u16) -> Result<BoundListener, StartError> {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let bound = socket
        .and_then(|socket| Ok(BoundListener { scheme, address: socket.local_addr()?, socket }));
    bound.map_err(|source| StartError::Listen { scheme, port, source })
}

async fn log_error(serving: impl Future<Output = std::io::Result<()>>) {
    if let Err(error) = serving.await {
        tracing::error!(%error, "listener stopped");
    }
}
