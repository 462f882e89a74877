//! The running emulator and what its owner may ask of it.

use crate::api;
use crate::api::faulty::drop_or_answer;
use crate::authority::Authority;
use crate::builder::{EmulatorBuilder, StartError};
use crate::connection::Acceptor;
use crate::endpoint::Endpoint;
use crate::exec::Executor;
use crate::faults::{CannedAnswer, FaultCount, FaultPlan, FaultRule, Faults};
use crate::files::Files;
use crate::recorded::{RecordedRequest, Recorder};
use crate::script::Script;
use crate::statements::{StatementScript, StatementSummary, Statements};
use crate::storage::Storage;
use crate::tls::Tls;
use crate::workspace::{RunSummary, Workspace};
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

/// How long [`Emulator::shutdown`] lets calls in flight finish.
const GRACE: Duration = Duration::from_secs(5);

/// What the listeners and the owner share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: EmulatorBuilder,
    pub(crate) workspace: Workspace,
    pub(crate) recorder: Recorder,
    pub(crate) faults: Faults,
    pub(crate) files: Arc<Files>,
    pub(crate) storage: Storage,
    pub(crate) statements: Statements,
    pub(crate) authority: Authority,
}

/// A fake workspace that listens on 127.0.0.1 until it is dropped.
///
/// Dropping it closes every connection and ends what is being executed at once; [`shutdown`](Self::shutdown) lets calls
/// in flight finish, and waits until what was executed is gone.
pub struct Emulator {
    shared: Arc<Shared>,
    http: Listener,
    https: Listener,
    tls: Arc<Tls>,
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
        self.shared.workspace.stop_executions();
    }
}

impl Emulator {
    /// The settings to start from.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder::default()
    }

    pub(crate) async fn start(mut settings: EmulatorBuilder) -> Result<Self, StartError> {
        let tls = match settings.tls.take() {
            Some(tls) => tls,
            None => Arc::new(Tls::throw_away()?),
        };
        let http = bind("HTTP", settings.http_port)?;
        let https = bind("HTTPS", settings.https_port)?;
        let files = Arc::new(Files::new(&settings));
        let executor =
            settings.exec.clone().map(|config| Executor::new(config, Arc::clone(&files)));
        let shared = Arc::new(Shared {
            workspace: Workspace::new(&settings, executor),
            recorder: Recorder::default(),
            faults: Faults::of(std::mem::take(&mut settings.faults)),
            files,
            storage: Storage::default(),
            statements: Statements::new(
                &settings.warehouses,
                format!("https://localhost:{}", https.address.port()),
            ),
            authority: Authority::new(&settings),
            settings,
        });
        let router = MapResult::new(api::router(Arc::clone(&shared)), drop_or_answer);
        let service = ServiceExt::<Request>::into_make_service(router);

        let (handle, address) = (Handle::new(), http.address);
        let server = http.server()?.handle(handle.clone());
        let task = tokio::spawn(report(server.serve(service.clone())));
        let http = Listener { address, handle, task };

        let (handle, address) = (Handle::new(), https.address);
        let acceptor = Acceptor::new(Arc::clone(&shared), &tls);
        let server = https.server()?.handle(handle.clone()).acceptor(acceptor);
        let task = tokio::spawn(report(server.serve(service)));
        let https = Listener { address, handle, task };

        for listener in [&http, &https] {
            listener.handle.listening().await;
        }
        Ok(Self { shared, http, https, tls })
    }

    /// Stops listening, lets the calls in flight finish for at most five seconds, ends what is being executed, and
    /// returns when all is closed.
    pub async fn shutdown(mut self) {
        for listener in [&self.http, &self.https] {
            listener.handle.graceful_shutdown(Some(GRACE));
        }
        for listener in [&mut self.http, &mut self.https] {
            if let Err(error) = (&mut listener.task).await {
                tracing::warn!(%error, "a listener ended badly");
            }
        }
        self.shared.workspace.stop_executions();
        let shared = Arc::clone(&self.shared);
        let gone = tokio::task::spawn_blocking(move || shared.workspace.join_executions()).await;
        if let Err(error) = gone {
            tracing::error!(%error, "the end of what was executed was not seen");
        }
    }

    /// The address for plain HTTP, as `http://127.0.0.1:PORT`.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.http.address)
    }

    /// The host for HTTPS, as `localhost:PORT`: what a client takes for a workspace instance.
    pub fn https_host(&self) -> String {
        format!("localhost:{}", self.https.address.port())
    }

    /// The PEM of the authority that a client has to trust for HTTPS. It is new at every start.
    pub fn certificate_pem(&self) -> &str {
        &self.tls.authority_pem
    }

    pub(crate) fn tls(&self) -> Arc<Tls> {
        Arc::clone(&self.tls)
    }

    /// Gives this script to the runs of that name that are submitted from now on.
    pub fn script(&self, run_name: &str, script: Script) {
        self.shared.workspace.script(run_name, script);
    }

    /// Gives this script to the statements that contain these words and are sent from now on. Of several that fit the
    /// latest counts.
    pub fn script_statements(&self, containing: &str, script: StatementScript) {
        self.shared.statements.script(containing.to_owned(), script);
    }

    /// Lets external links begin with this, such as `https://storage.example`, in place of the emulator's own address.
    pub fn lead_links_to(&self, base: &str) {
        self.shared.statements.set_link_base(base.to_owned());
    }

    /// Every statement that was accepted, the earliest first.
    pub fn statements(&self) -> Vec<StatementSummary> {
        self.shared.statements.summaries()
    }

    /// The latest 10,000 calls of the workspace API, oldest first, refused ones included.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.recorder.all()
    }

    /// The latest 10,000 bodies that started a run, in order. One that repeated an `idempotency_token` is not among them.
    pub fn submissions(&self) -> Vec<Value> {
        self.shared.workspace.submissions()
    }

    /// Every run, oldest first.
    pub fn runs(&self) -> Vec<RunSummary> {
        self.shared.workspace.summaries()
    }

    /// The run of this id; `None` for one that never was or was deleted. Looking does not make a run move.
    pub fn run(&self, run_id: i64) -> Option<RunSummary> {
        self.shared.workspace.summary(run_id)
    }

    /// Moves the run one step, whatever its pace, and returns what it is then; `None` for an unknown run.
    pub fn advance(&self, run_id: i64) -> Option<RunSummary> {
        self.shared.workspace.advance(run_id)
    }

    /// Forgets the run, active or not, as retention does after 60 days (DA §1.4); says whether there was one. From then
    /// on it is unknown, and its `idempotency_token` answers an error (DA §3.1).
    pub fn delete_run(&self, run_id: i64) -> bool {
        self.shared.workspace.forget(run_id)
    }

    /// Saves a job: `settings` is what a run of it submits, with `tasks` and perhaps `run_name`.
    pub fn save_job(&self, job_id: i64, settings: serde_json::Map<String, Value>) {
        self.shared.workspace.save_job(job_id, settings);
    }

    /// Lets every token that was minted so far end after that time: at once, or so soon that it is not taken any more.
    pub fn end_tokens_in(&self, left: Duration) {
        self.shared.authority.end_in(left);
    }

    /// How many tokens were minted since the start.
    pub fn tokens_minted(&self) -> usize {
        self.shared.authority.count()
    }

    /// The base of the stand-ins for the clouds' authorities.
    pub fn cloud_url(&self) -> String {
        format!("{}/emulator/cloud", self.http_url())
    }

    /// Puts a file into the workspace, over whatever is there.
    pub fn put_workspace_file(&self, path: &str, content: impl Into<Vec<u8>>) {
        self.shared.files.put(path, content.into());
    }

    /// The content of a file of the workspace; none when there is no such file.
    pub fn workspace_file(&self, path: &str) -> Option<Vec<u8>> {
        self.shared.files.content(path)
    }

    /// Puts a file into DBFS, or below `/Volumes` into a volume, over whatever is there.
    pub fn put_file(&self, path: &str, content: impl Into<Vec<u8>>) {
        self.shared.storage.put(path, content.into());
    }

    /// Adds to the end of a file of DBFS or of a volume; makes it when it is not there.
    pub fn append_file(&self, path: &str, content: impl AsRef<[u8]>) {
        self.shared.storage.append(path, content.as_ref());
    }

    /// Gives a file of DBFS or of a volume another name, as a rotation does; says whether there was one.
    pub fn rename_file(&self, from: &str, to: &str) -> bool {
        self.shared.storage.rename(from, to)
    }

    /// The content of a file of DBFS or of a volume; none when there is no such file.
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.shared.storage.content(path)
    }

    /// The folder that the cluster of a task delivers its driver's logs to (DA §5.1): the destination that its
    /// `cluster_log_conf` names, the cluster, `driver`. None for a task without one, or before its cluster was asked for.
    pub fn log_folder(&self, run_id: i64, task_key: &str) -> Option<String> {
        self.shared.workspace.log_folder(run_id, task_key)
    }

    /// Forgets every rule and every count, and takes these rules with their seed.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.shared.faults.replace(plan);
    }

    /// Takes one more rule. Rules are asked in the order in which they came, and the first that strikes is the only one.
    pub fn inject(&self, rule: FaultRule) {
        self.shared.faults.add(rule);
    }

    /// Takes the rules of this name out of force, and says whether there was one. Their strikes stay counted.
    pub fn remove_fault(&self, name: &str) -> bool {
        self.shared.faults.remove(name)
    }

    /// How often the rules of this name struck.
    pub fn struck(&self, name: &str) -> u64 {
        self.shared.faults.struck(name)
    }

    /// How often the rules of each name struck, by name.
    pub fn fault_counts(&self) -> Vec<FaultCount> {
        self.shared.faults.counts()
    }

    /// Gives this answer to the next `times` calls of the endpoint, in place of the workspace's own and before the call
    /// has any effect. Several wait for each other in order. They are counted as `answer_next`.
    pub fn answer_next(&self, endpoint: Endpoint, answer: CannedAnswer, times: u32) {
        if let Some(times) = NonZeroU32::new(times) {
            self.inject(FaultRule::canned(endpoint, answer, times));
        }
    }
}

struct Bound {
    scheme: &'static str,
    address: SocketAddr,
    socket: TcpListener,
}

impl Bound {
    fn server(self) -> Result<axum_server::Server<SocketAddr>, StartError> {
        let Self { scheme, address, socket } = self;
        axum_server::from_tcp(socket).map_err(|source| StartError::Listen {
            scheme,
            port: address.port(),
            source,
        })
    }
}

fn bind(scheme: &'static str, port: u16) -> Result<Bound, StartError> {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let bound =
        socket.and_then(|socket| Ok(Bound { scheme, address: socket.local_addr()?, socket }));
    bound.map_err(|source| StartError::Listen { scheme, port, source })
}

async fn report(serving: impl Future<Output = std::io::Result<()>>) {
    if let Err(error) = serving.await {
        tracing::error!(%error, "a listener stopped");
    }
}
