//! A day of a connector in a minute or more: two replicas, two workspaces, and one trouble after the other.
//!
//! | part of the day | what happens |
//! | --- | --- |
//! | to 0.25 | all is well; one request in fifty is answered 503 |
//! | to 0.45 | `dev` closes every connection |
//! | to 0.55 | all is well, but for one task whose files cannot be read |
//! | 0.55 | sixty tasks want to start in `prod` at once, and it says 429 now and then until 0.65 |
//! | 0.70 to 0.80 | `dev` refuses the credential |
//! | 0.85 | a replica is replaced |

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use databricks_emulator::{
    Calls, CannedResponse, ConnectionFault, Emulator, Endpoint, Fault, FaultRule, LifeCycle, Pace,
    Probability, RetryAfter, Script, Step, When,
};
use flyteidl2::{
    connector::{
        DeleteTaskRequest, GetTaskRequest,
        async_connector_service_client::AsyncConnectorServiceClient,
    },
    core::task_execution::Phase,
};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tonic::{Request, transport::Channel};

use super::{PRINCIPAL, as_principal, replica::Replica};
use crate::databricks::{captured, category, pointed_at};

const TOKEN: &str = "dapi-connector";

/// The workspaces, as the dashboard shows them.
pub const NAMES: [&str; 2] = ["prod", "dev"];

/// Longer than `dev` is away. Databricks takes no token in its last half minute (DA §4.5).
const TOKEN_LIFE: Duration = Duration::from_mins(3);

/// How many tasks want to start at once.
const BACKFILL: usize = 60;

pub struct Day {
    pub prod: Emulator,
    pub dev: Emulator,
    pub replicas: Vec<Replica>,
    folder: PathBuf,
    length: Duration,
}

/// What the tasks of a day share.
#[derive(Clone)]
struct Executor {
    channels: Vec<Channel>,
    folder: PathBuf,
    /// Between two polls.
    pause: Duration,
}

/// What is special about a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ordinary,
    /// It brings the credential of a service principal.
    OfPrincipal,
    /// The connector cannot read its files.
    WithoutFiles,
}

/// Every task is another.
static TASKS: AtomicUsize = AtomicUsize::new(0);

impl Day {
    /// Everything is up, and nothing has happened.
    pub async fn prepared(folder: &Path, length: Duration) -> Self {
        let step = length / 100;
        let life = Script::success().with_pace(Pace::Elapsed(step)).with_steps([
            Step::new(LifeCycle::Queued).with_hold(1),
            Step::new(LifeCycle::Pending).with_hold(2),
            Step::new(LifeCycle::Running).with_hold(6),
        ]);
        let workspace = || {
            Emulator::builder()
                .token(TOKEN)
                .service_principal(PRINCIPAL.0, PRINCIPAL.1)
                .token_lifetime(TOKEN_LIFE)
                .default_script(life.clone())
        };
        let prod = workspace().start().await.unwrap();
        let dev = workspace().certificates_from(&prod).start().await.unwrap();
        let certificate = folder.join("workspace.pem");
        std::fs::write(&certificate, prod.certificate_pem()).unwrap();
        let hosts = format!("{},{}", prod.https_host(), dev.https_host());
        let variables = [
            ("FLYTE_DATABRICKS_INSTANCE", prod.https_host()),
            ("FLYTE_DATABRICKS_ACCESS_TOKEN", TOKEN.to_owned()),
            ("FLYTE_DATABRICKS_ACCESS_TOKEN_HOSTS", hosts),
            ("FLYTE_DATABRICKS_ALLOWED_HOSTS", "localhost:*".to_owned()),
            ("SSL_CERT_FILE", certificate.to_string_lossy().into_owned()),
        ];
        let mut replicas = Vec::new();
        for name in ["replica-0", "replica-1"] {
            replicas.push(Replica::start(folder, name, &variables).await);
        }
        Self { prod, dev, replicas, folder: folder.to_owned(), length }
    }

    /// Lives through it.
    pub async fn pass(&mut self) {
        let executor = Executor {
            channels: self.replicas.iter().map(Replica::channel).collect(),
            folder: self.folder.clone(),
            pause: Duration::from_secs(1),
        };
        let tasks = TaskTracker::new();
        let start = Instant::now();
        let length = self.length;
        let until = |part: f64| tokio::time::sleep_until(start + length.mul_f64(part));
        let (prod, dev) = (self.prod.https_host(), self.dev.https_host());
        let arrivals = async {
            let mut second = tokio::time::interval(Duration::from_secs(1));
            loop {
                second.tick().await;
                tasks.spawn(executor.clone().run(prod.clone(), Kind::Ordinary));
                tasks.spawn(executor.clone().run(dev.clone(), Kind::OfPrincipal));
            }
        };
        let [_, replaced] = &mut self.replicas[..] else { panic!("not two replicas") };
        let troubles = async {
            let rare =
                |probability, fault| When::Chance(Probability::new(probability).unwrap(), fault);
            let hiccup = Fault::Answer(CannedResponse::json(503, "{}"));
            for workspace in [&self.prod, &self.dev] {
                workspace.inject(FaultRule::on_calls(Calls::any(), rare(0.02, hiccup.clone())));
            }
            until(0.25).await;
            self.dev.inject(
                FaultRule::on_calls(Calls::any(), When::Always(Fault::DropBefore)).named("calls"),
            );
            let closed = When::Always(ConnectionFault::Closed);
            self.dev.inject(FaultRule::on_connections(closed).named("connections"));
            until(0.45).await;
            assert!(self.dev.remove_fault("calls") && self.dev.remove_fault("connections"));
            tasks.spawn(executor.clone().run(prod.clone(), Kind::WithoutFiles));
            until(0.55).await;
            let busy = rare(0.1, Fault::RateLimited(RetryAfter::Absent));
            let reads = Calls::to([Endpoint::GetRun]);
            self.prod.inject(FaultRule::on_calls(reads, busy).named("busy"));
            for _ in 0..BACKFILL {
                tasks.spawn(executor.clone().run(prod.clone(), Kind::Ordinary));
            }
            until(0.65).await;
            assert!(self.prod.remove_fault("busy"));
            until(0.70).await;
            let refused = When::Always(Fault::Answer(CannedResponse::json(403, "{}")));
            self.dev.inject(FaultRule::on_calls(Calls::any(), refused).named("refused"));
            until(0.80).await;
            assert!(self.dev.remove_fault("refused"));
            until(0.85).await;
            replaced.replace().await;
            until(1.0).await;
        };
        tokio::select! {
            () = arrivals => {}
            () = troubles => {}
        }
    }
}

impl Executor {
    /// A task from its creation to its end, as Flyte's executor sees it; a create that fails is the end.
    async fn run(self, host: String, kind: Kind) {
        let number = TASKS.fetch_add(1, Ordering::Relaxed);
        // As Flyte lays them out: a folder for each attempt in that of its action, by which actions are told apart.
        let prefix = self.folder.join(format!("outputs/run-{number}/a0/1"));
        std::fs::create_dir_all(&prefix).unwrap();
        std::fs::write(prefix.join("outputs.pb"), []).unwrap();
        let mut request = pointed_at(captured("40_executor_first_attempt"), &host);
        request.output_prefix = match kind {
            Kind::WithoutFiles => "gs://nobody-may-read-this/outputs".to_owned(),
            Kind::Ordinary | Kind::OfPrincipal => format!("file://{}", prefix.display()),
        };
        if kind == Kind::OfPrincipal {
            request = as_principal(request);
        }
        let connection = request.connection.clone();
        let output_prefix = request.output_prefix.clone();
        let mut polls = 0;
        let mut client = || {
            polls += 1;
            let channel = self.channels[(number + polls) % self.channels.len()].clone();
            AsyncConnectorServiceClient::new(channel)
        };
        let Ok(created) = Box::pin(client().create_task(within(10, request))).await else { return };
        let resource_meta = created.into_inner().resource_meta;
        loop {
            tokio::time::sleep(self.pause).await;
            let get = GetTaskRequest {
                resource_meta: resource_meta.clone(),
                task_category: Some(category()),
                output_prefix: output_prefix.clone(),
                connection: connection.clone(),
            };
            let Ok(answer) = client().get_task(within(10, get)).await else { continue };
            let phase = answer.into_inner().resource.unwrap().phase();
            if matches!(phase, Phase::Succeeded | Phase::Failed | Phase::RetryableFailed) {
                break;
            }
        }
        let delete =
            DeleteTaskRequest { resource_meta, task_category: Some(category()), connection };
        // Flyte asks again when that fails; here it does not matter.
        let _forgotten = client().delete_task(within(10, delete)).await;
    }
}

fn within<T>(seconds: u64, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(seconds));
    request
}
