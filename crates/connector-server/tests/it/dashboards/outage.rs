//! A scenario with two replicas, two workspaces and a sequence of failures.
//!
//! | part of the scenario | event |
//! | --- | --- |
//! | 0 to 0.25 | normal operation; one request in fifty gets 503, to the end |
//! | 0.25 to 0.45 | `dev` closes every connection |
//! | 0.45 | a task whose files cannot be read |
//! | 0.55 to 0.65 | sixty tasks start in `prod` at the same time, and a tenth of its reads gets 429 |
//! | 0.70 to 0.80 | `dev` rejects the credential |
//! | 0.85 | a replica is restarted |

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

use super::{PRINCIPAL, replica::Replica, with_principal};
use crate::{
    fixtures::create_request_for,
    workspace::{CONNECTOR_TOKEN, task_category},
};

/// Names of the workspaces on the dashboard.
pub const WORKSPACE_NAMES: [&str; 2] = ["prod", "dev"];

/// Longer than the outage of `dev`. The emulator accepts no token in its last 30 s.
const TOKEN_LIFETIME: Duration = Duration::from_mins(3);

/// Tasks started at the same time at 0.55.
const BACKFILL: usize = 60;

pub struct Outage {
    pub prod: Emulator,
    pub dev: Emulator,
    pub replicas: Vec<Replica>,
    folder: PathBuf,
    duration: Duration,
}

/// A simulated Flyte executor; each clone runs one task.
#[derive(Clone)]
struct Executor {
    channels: Vec<Channel>,
    folder: PathBuf,
    poll_interval: Duration,
}

/// A kind of task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ordinary,
    /// Carries the credential of a service principal.
    WithPrincipal,
    /// Its files cannot be read.
    UnreadableFiles,
}

/// Numbers the tasks.
static TASKS: AtomicUsize = AtomicUsize::new(0);

impl Outage {
    /// Starts workspaces and replicas.
    pub async fn prepare(folder: &Path, duration: Duration) -> Self {
        let step = duration / 100;
        let script = Script::success().with_pace(Pace::Elapsed(step)).with_steps([
            Step::new(LifeCycle::Queued).with_hold(1),
            Step::new(LifeCycle::Pending).with_hold(2),
            Step::new(LifeCycle::Running).with_hold(6),
        ]);
        let workspace = || {
            Emulator::builder()
                .token(CONNECTOR_TOKEN)
                .service_principal(PRINCIPAL.0, PRINCIPAL.1)
                .token_lifetime(TOKEN_LIFETIME)
                .default_script(script.clone())
        };
        let prod = workspace().start().await.unwrap();
        let dev = workspace().certificates_from(&prod).start().await.unwrap();
        let certificate = folder.join("workspace.pem");
        std::fs::write(&certificate, prod.certificate_pem()).unwrap();
        let hosts = format!("{},{}", prod.https_host(), dev.https_host());
        let variables = [
            ("FLYTE_DATABRICKS_INSTANCE", prod.https_host()),
            ("FLYTE_DATABRICKS_ACCESS_TOKEN", CONNECTOR_TOKEN.to_owned()),
            ("FLYTE_DATABRICKS_ACCESS_TOKEN_HOSTS", hosts),
            ("FLYTE_DATABRICKS_ALLOWED_HOSTS", "localhost:*".to_owned()),
            ("SSL_CERT_FILE", certificate.to_string_lossy().into_owned()),
        ];
        let mut replicas = Vec::new();
        for name in ["replica-0", "replica-1"] {
            replicas.push(Replica::start(folder, name, &variables).await);
        }
        Self { prod, dev, replicas, folder: folder.to_owned(), duration }
    }

    /// Runs the scenario.
    pub async fn run(&mut self) {
        let executor = Executor {
            channels: self.replicas.iter().map(Replica::channel).collect(),
            folder: self.folder.clone(),
            poll_interval: Duration::from_secs(1),
        };
        let tasks = TaskTracker::new();
        let start = Instant::now();
        let duration = self.duration;
        let until = |part: f64| tokio::time::sleep_until(start + duration.mul_f64(part));
        let (prod, dev) = (self.prod.https_host(), self.dev.https_host());
        let arrivals = async {
            let mut second = tokio::time::interval(Duration::from_secs(1));
            loop {
                second.tick().await;
                tasks.spawn(executor.clone().run(prod.clone(), Kind::Ordinary));
                tasks.spawn(executor.clone().run(dev.clone(), Kind::WithPrincipal));
            }
        };
        let [_, replica] = &mut self.replicas[..] else { panic!("expected two replicas") };
        let failures = async {
            let chance =
                |probability, fault| When::Chance(Probability::new(probability).unwrap(), fault);
            let unavailable = Fault::Answer(CannedResponse::json(503, "{}"));
            for workspace in [&self.prod, &self.dev] {
                workspace
                    .inject(FaultRule::on_calls(Calls::any(), chance(0.02, unavailable.clone())));
            }
            until(0.25).await;
            self.dev.inject(
                FaultRule::on_calls(Calls::any(), When::Always(Fault::DropBefore)).named("calls"),
            );
            let closed = When::Always(ConnectionFault::Closed);
            self.dev.inject(FaultRule::on_connections(closed).named("connections"));
            until(0.45).await;
            assert!(self.dev.remove_fault("calls") && self.dev.remove_fault("connections"));
            tasks.spawn(executor.clone().run(prod.clone(), Kind::UnreadableFiles));
            until(0.55).await;
            let busy = chance(0.1, Fault::RateLimited(RetryAfter::Absent));
            let reads = Calls::to([Endpoint::GetRun]);
            self.prod.inject(FaultRule::on_calls(reads, busy).named("busy"));
            for _ in 0..BACKFILL {
                tasks.spawn(executor.clone().run(prod.clone(), Kind::Ordinary));
            }
            until(0.65).await;
            assert!(self.prod.remove_fault("busy"));
            until(0.70).await;
            let rejected = When::Always(Fault::Answer(CannedResponse::json(403, "{}")));
            self.dev.inject(FaultRule::on_calls(Calls::any(), rejected).named("rejected"));
            until(0.80).await;
            assert!(self.dev.remove_fault("rejected"));
            until(0.85).await;
            replica.restart().await;
            until(1.0).await;
        };
        tokio::select! {
            () = arrivals => {}
            () = failures => {}
        }
    }
}

impl Executor {
    /// Creates a task, polls it to its end and deletes it. Stops if the creation fails.
    async fn run(self, host: String, kind: Kind) {
        let number = TASKS.fetch_add(1, Ordering::Relaxed);
        // Flyte's layout: one folder per attempt in the folder of the action.
        let prefix = self.folder.join(format!("outputs/run-{number}/a0/1"));
        std::fs::create_dir_all(&prefix).unwrap();
        std::fs::write(prefix.join("outputs.pb"), []).unwrap();
        let mut request = create_request_for("40_executor_first_attempt", &host);
        request.output_prefix = match kind {
            Kind::UnreadableFiles => "gs://unreadable-bucket/outputs".to_owned(),
            Kind::Ordinary | Kind::WithPrincipal => format!("file://{}", prefix.display()),
        };
        if kind == Kind::WithPrincipal {
            request = with_principal(request);
        }
        let connection = request.connection.clone();
        let output_prefix = request.output_prefix.clone();
        let mut polls = 0;
        let mut client = || {
            polls += 1;
            let channel = self.channels[(number + polls) % self.channels.len()].clone();
            AsyncConnectorServiceClient::new(channel)
        };
        let Ok(created) = Box::pin(client().create_task(with_timeout(request))).await else {
            return;
        };
        let resource_meta = created.into_inner().resource_meta;
        loop {
            tokio::time::sleep(self.poll_interval).await;
            let get = GetTaskRequest {
                resource_meta: resource_meta.clone(),
                task_category: Some(task_category()),
                output_prefix: output_prefix.clone(),
                connection: connection.clone(),
            };
            let Ok(response) = client().get_task(with_timeout(get)).await else { continue };
            let phase = response.into_inner().resource.unwrap().phase();
            if matches!(phase, Phase::Succeeded | Phase::Failed | Phase::RetryableFailed) {
                break;
            }
        }
        let delete =
            DeleteTaskRequest { resource_meta, task_category: Some(task_category()), connection };
        // Flyte would retry a failed call; here the result does not matter.
        drop(client().delete_task(with_timeout(delete)).await);
    }
}

fn with_timeout<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(10));
    request
}
