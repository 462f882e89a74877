//! Runs the soak: starts the workspace, the replicas and the executors, kills replicas, and runs the tasks.

use crate::Args;
use crate::faults;
use crate::faulty_network::FaultyNetwork;
use crate::invariants::{self, Observations, TaskRecord};
use crate::replicas::{Replica, ReplicaConfig};
use crate::scenario::{ExecutorKind, TaskScenario};
use crate::summary::{self, Totals};
use crate::task_requests::{SharedFixtures, TaskRequests};
use databricks_emulator::Emulator;
use fastrand::Rng;
use flyte_executor_model::{
    Balancer, CallOutput, Client, ConnectBackoff, Deadlines, Disruptions, Executor,
    ExecutorSettings, Finished, Method, Outputs, ServiceConfig, Task,
};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, sleep, timeout};

/// An error that prevents the soak, as opposed to a violation.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The only token of the emulated workspace.
const TOKEN: &str = "dapi-soak";
/// The servers' `--abandon-grace`, instead of 30 s.
const ABANDON_GRACE: Duration = Duration::from_secs(1);
/// The delay of garbage collection, instead of an hour.
const COLLECT_AFTER: Duration = Duration::from_secs(1);
/// After this time a task counts as unfinished.
const TASK_TIMEOUT: Duration = Duration::from_mins(5);
/// Concurrent polls per executor, instead of 10, because the intervals are shorter and the calls are not.
const POLLS: usize = 200;

/// The state of a soak.
struct Soak {
    fixtures: Arc<SharedFixtures>,
    replica_config: ReplicaConfig,
    balancers: Vec<Arc<Balancer>>,
    network: FaultyNetwork,
    observed: Mutex<Observations>,
    drains: AtomicU64,
    /// Replicas that failed to drain.
    failed_drains: Mutex<Vec<String>>,
}

impl Soak {
    fn observed(&self) -> MutexGuard<'_, Observations> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Updates the address of a replica in all balancers.
    fn replica_moved(&self, index: usize, address: SocketAddr) {
        for balancer in &self.balancers {
            balancer.set_address(index, address);
        }
    }

    /// Returns the number of injected faults, of the workspace and the network.
    fn fault_count(&self) -> u64 {
        let counts = self.fixtures.emulator.fault_counts();
        let workspace: u64 = counts.iter().map(|count| count.injected).sum();
        workspace + self.network.fault_counts().iter().sum::<u64>()
    }

    /// Drains a replica and records a failure.
    async fn drain(&self, replica: Replica) {
        let address = replica.address;
        let failure = match replica.drain().await {
            Ok(status) if status.success() => None,
            Ok(status) => Some(format!("the replica at {address} drained with {status}")),
            Err(error) => Some(format!("the replica at {address}: {error}")),
        };
        self.drains.fetch_add(1, Ordering::Relaxed);
        let mut failures = self.failed_drains.lock().unwrap_or_else(PoisonError::into_inner);
        failures.extend(failure);
    }
}

/// Runs the soak and prints its result. Returns true if no invariant is violated.
///
/// # Errors
///
/// Fails if the soak cannot run.
pub(crate) async fn run(args: &Args) -> Result<bool, BoxError> {
    let started = Instant::now();
    let folder = tempfile::Builder::new().prefix("soak-").tempdir()?;
    let (soak, replicas) = start(args, folder.path()).await?;
    println!(
        "soak: {} tasks, seed {}, {} replicas, {} concurrent, {} faults per 100 calls, a kill or replacement about every {} ms",
        args.tasks, args.seed, args.replicas, args.concurrent, args.faults, args.kill_every
    );
    println!(
        "time: polls every {:?} instead of 30 s, reconciliations every {:?} instead of 10 s (factor {}), collection after {COLLECT_AFTER:?} instead of 1 h, abandon grace {ABANDON_GRACE:?} instead of 30 s; deadlines, retries and the server's own intervals as in production",
        settings(args).resync,
        settings(args).reconcile,
        args.faster
    );

    let (stop, stopped) = watch::channel(false);
    let disruptor =
        tokio::spawn(disrupt_replicas(args.clone(), Arc::clone(&soak), replicas, stopped));
    let done = Arc::new(AtomicU64::new(0));
    let progress =
        tokio::spawn(print_progress(args.tasks, Arc::clone(&done), Arc::clone(&soak), started));
    run_tasks(args, &soak, &done).await?;
    progress.abort();
    stop.send_replace(true);
    let replicas = disruptor.await??;

    // Abandoned runs are cancelled now, or during the drain.
    sleep(ABANDON_GRACE * 2).await;
    let last: Vec<SocketAddr> = replicas.iter().map(|replica| replica.address).collect();
    for replica in replicas {
        soak.drain(replica).await;
    }
    let left = soak.fixtures.emulator.runs();
    let observed = soak.observed();
    let (violations, runs) = observed.check(&left);
    let failed_drains = soak.failed_drains.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let totals = Totals {
        runs,
        kills: observed.kills.len(),
        drains: soak.drains.load(Ordering::Relaxed),
        faults: soak.fixtures.emulator.fault_counts(),
        network: soak.network.fault_counts(),
        took: started.elapsed(),
    };
    summary::print(args, &observed, &totals, &violations, &failed_drains);
    let passed = violations.is_empty() && failed_drains.is_empty();
    drop(observed);
    if !passed {
        let kept = folder.keep();
        println!(
            "the replicas' logs are kept in {}; the last replicas listened on {last:?}",
            kept.display()
        );
    }
    Ok(passed)
}

/// Returns the network faults per 10,000 chunks. Few, because a broken connection fails many calls.
fn network_fault_share(percent: u8) -> u16 {
    u16::from(percent) * 3
}

/// Returns the workspace faults per 10,000 calls.
fn workspace_fault_share(percent: u8) -> u32 {
    u32::from(percent) * 100
}

fn settings(args: &Args) -> ExecutorSettings {
    ExecutorSettings {
        collect_after: COLLECT_AFTER,
        ..ExecutorSettings::default().faster(args.faster)
    }
}

async fn start(
    args: &Args,
    folder: &std::path::Path,
) -> Result<(Arc<Soak>, Vec<Replica>), BoxError> {
    let emulator = Emulator::builder()
        .token(TOKEN)
        .faults(faults::plan(args.seed, workspace_fault_share(args.faults)))
        .start()
        .await?;
    let (root_cert, logs, outputs) =
        (folder.join("root.pem"), folder.join("logs"), folder.join("outputs"));
    std::fs::write(&root_cert, emulator.certificate_pem())?;
    std::fs::create_dir(&logs)?;
    std::fs::create_dir(&outputs)?;
    let upstream = emulator.https_host().replacen("localhost", "127.0.0.1", 1).parse()?;
    let network =
        FaultyNetwork::start(upstream, args.seed, network_fault_share(args.faults)).await?;
    let workspace = format!("localhost:{}", network.address.port());
    let replica_config = ReplicaConfig {
        program: args.server.clone(),
        workspace: workspace.clone(),
        token: TOKEN.to_owned(),
        root_cert,
        logs,
        abandon_grace: ABANDON_GRACE.as_secs(),
        server_flags: args.server_flags.clone(),
    };
    let mut replicas = Vec::new();
    for _ in 0..args.replicas {
        replicas.push(replica_config.start().await?);
    }
    let addresses: Vec<SocketAddr> = replicas.iter().map(|replica| replica.address).collect();
    let backoff = ConnectBackoff { base: Duration::from_millis(50), max: Duration::from_secs(1) };
    let balancers: Vec<Arc<Balancer>> =
        ExecutorKind::ALL.iter().map(|_| Arc::new(Balancer::new(&addresses, backoff))).collect();
    for balancer in &balancers {
        balancer.all_ready().await;
    }
    let soak = Soak {
        fixtures: Arc::new(SharedFixtures::new(emulator, workspace, outputs)?),
        replica_config,
        balancers,
        network,
        observed: Mutex::new(Observations {
            abandon_grace: ABANDON_GRACE,
            ..Observations::default()
        }),
        drains: AtomicU64::new(0),
        failed_drains: Mutex::new(Vec::new()),
    };
    Ok((Arc::new(soak), replicas))
}

/// Returns the executors in the order of `ExecutorKind::ALL`.
fn executors(soak: &Soak) -> Vec<Executor> {
    let parts = ExecutorKind::ALL.iter().zip(&soak.balancers);
    parts
        .map(|(executor_kind, balancer)| {
            let (config, deadlines) = match executor_kind {
                ExecutorKind::Stock => (ServiceConfig::stock(), Deadlines::default()),
                ExecutorKind::Recommended => {
                    (ServiceConfig::recommended(), Deadlines::all(Some(Duration::from_mins(10))))
                }
                ExecutorKind::NoDeadline => (ServiceConfig::stock(), Deadlines::all(None)),
            };
            Executor::new(Client::new(Arc::clone(balancer), config), deadlines).with_polls(POLLS)
        })
        .collect()
}

/// Runs all tasks.
async fn run_tasks(args: &Args, soak: &Arc<Soak>, done: &Arc<AtomicU64>) -> Result<(), BoxError> {
    let executors = executors(soak);
    let permits = Arc::new(Semaphore::new(args.concurrent));
    let mut tasks = JoinSet::new();
    for number in 0..args.tasks {
        let permit = Arc::clone(&permits).acquire_owned().await?;
        let scenario = TaskScenario::new(args.seed, number);
        let index = ExecutorKind::ALL
            .iter()
            .position(|executor_kind| *executor_kind == scenario.executor_kind);
        let executor = index.and_then(|index| executors.get(index)).cloned();
        let executor = executor.ok_or("no executor of this kind")?;
        let (soak, done) = (Arc::clone(soak), Arc::clone(done));
        let settings = settings(args);
        tasks.spawn(async move {
            let _permit = permit;
            let requests = TaskRequests::prepare(Arc::clone(&soak.fixtures), number, &scenario)?;
            let task = Task::new(settings, scenario.retries, Outputs::Present, None);
            let disruptions = Disruptions {
                abort_after: scenario.abort_after,
                unstored: scenario.unstored,
                restart_after: scenario.restart_after,
                timeout: TASK_TIMEOUT,
            };
            let began = Instant::now();
            let finished = executor.run(task, &requests, disruptions).await;
            record_runs(&soak, &finished);
            soak.observed().tasks.insert(number, TaskRecord { scenario, began, finished });
            done.fetch_add(1, Ordering::Relaxed);
            Ok::<(), std::io::Error>(())
        });
        while let Some(ended) = tasks.try_join_next() {
            ended??;
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Records the terminated runs of a task and deletes them from the workspace, so that it does not grow.
fn record_runs(soak: &Soak, finished: &Finished) {
    let launched = finished.calls.iter().filter(|call| call.method == Method::Create);
    let ids: BTreeSet<i64> = launched
        .filter_map(|call| match &call.outcome {
            Ok(CallOutput::Launched(meta)) => run_id(meta),
            _ => None,
        })
        .collect();
    for id in ids {
        let Some(run) = soak.fixtures.emulator.run(id).filter(|run| !invariants::is_active(run))
        else {
            continue;
        };
        soak.observed().terminated_runs.push(run);
        soak.fixtures.emulator.delete_run(id);
    }
}

fn run_id(meta: &[u8]) -> Option<i64> {
    let meta: serde_json::Value = serde_json::from_slice(meta).ok()?;
    meta.get("run_id")?.as_str()?.parse().ok()
}

/// Kills and replaces replicas, one at a time, until `stopped`.
async fn disrupt_replicas(
    args: Args,
    soak: Arc<Soak>,
    replicas: Vec<Replica>,
    mut stopped: watch::Receiver<bool>,
) -> Result<Vec<Replica>, std::io::Error> {
    let mut rng = Rng::with_seed(args.seed ^ 0x5eed);
    let mut slots: Vec<Replica> = replicas;
    let mut draining: Vec<JoinHandle<()>> = Vec::new();
    if args.kill_every == 0 {
        return Ok(slots);
    }
    loop {
        let wait = Duration::from_millis(rng.u64(args.kill_every / 2..=args.kill_every * 3 / 2));
        if timeout(wait, stopped.wait_for(|stopped| *stopped)).await.is_ok() {
            break;
        }
        let index = rng.usize(0..slots.len());
        let (is_kill, downtime) = (rng.u8(0..3) < 2, Duration::from_millis(rng.u64(0..500)));
        if is_kill {
            let killed = slots.swap_remove(index);
            let address = killed.address;
            soak.observed().kills.insert(address, Instant::now());
            killed.kill().await?;
            sleep(downtime).await;
            slots.push(soak.replica_config.start().await?);
            let last = slots.len() - 1;
            slots.swap(index, last);
        } else {
            // As in a rollout, the new replica starts before the old one drains.
            let mut old = soak.replica_config.start().await?;
            if let Some(slot) = slots.get_mut(index) {
                std::mem::swap(slot, &mut old);
            }
            let soak = Arc::clone(&soak);
            draining.push(tokio::spawn(async move { soak.drain(old).await }));
        }
        if let Some(replica) = slots.get(index) {
            soak.replica_moved(index, replica.address);
        }
    }
    for drain in draining {
        drain.await.map_err(std::io::Error::other)?;
    }
    Ok(slots)
}

/// Prints the progress every five seconds.
async fn print_progress(tasks: u64, done: Arc<AtomicU64>, soak: Arc<Soak>, started: Instant) {
    let mut ticks = interval(Duration::from_secs(5));
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let done = done.load(Ordering::Relaxed);
        let seconds = started.elapsed().as_secs();
        println!(
            "{seconds} s: {done} of {tasks} tasks done, {} kills, {} drains, {} faults",
            soak.observed().kills.len(),
            soak.drains.load(Ordering::Relaxed),
            soak.fault_count(),
        );
    }
}
