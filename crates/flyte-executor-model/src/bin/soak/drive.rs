//! The run itself: a workspace, replicas, executors, kills, and the tasks.

use crate::Args;
use crate::cast::{Flavour, Role};
use crate::fleet::{Recipe, Replica};
use crate::job::{Job, Stage};
use crate::ledger::{self, Ledger, Record};
use crate::network::Network;
use crate::summary::{self, Figures};
use crate::weather;
use databricks_emulator::Emulator;
use fastrand::Rng;
use flyte_executor_model::{
    Balancer, Client, ConnectBackoff, Deadlines, Executor, Fate, Finished, Outcome, Outputs,
    ServiceConfig, Settings, Task, Verb,
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

/// Any error that is no finding.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The workspace's only token. Worthless anywhere else.
const TOKEN: &str = "dapi-soak";
/// What the servers are started with, instead of 30 s.
const ABANDON_GRACE: Duration = Duration::from_secs(1);
/// How long a task waits to be collected, instead of an hour.
const COLLECT_AFTER: Duration = Duration::from_secs(1);
/// How long a task may take before it counts as never finished.
const PATIENCE: Duration = Duration::from_mins(5);
/// Polls under way at once in one executor, instead of 10: its waits are shorter, and the calls are not.
const POLLS: usize = 200;

/// What the parts of a run share.
struct World {
    stage: Arc<Stage>,
    recipe: Recipe,
    balancers: Vec<Arc<Balancer>>,
    network: Network,
    ledger: Mutex<Ledger>,
    drains: AtomicU64,
    /// Replicas that did not drain as they should.
    bad_drains: Mutex<Vec<String>>,
}

impl World {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The replica at this place is another one now.
    fn moved(&self, place: usize, address: SocketAddr) {
        for balancer in &self.balancers {
            balancer.moved(place, address);
        }
    }

    /// How many faults there were, of the workspace and of the network.
    fn struck(&self) -> u64 {
        let counts = self.stage.emulator.fault_counts();
        let workspace: u64 = counts.iter().map(|count| count.injected).sum();
        workspace + self.network.struck().iter().sum::<u64>()
    }

    /// Drains a replica, and notes when that does not end well.
    async fn drain(&self, replica: Replica) {
        let address = replica.address;
        let fault = match replica.drain().await {
            Ok(status) if status.success() => None,
            Ok(status) => Some(format!("the replica at {address} drained with {status}")),
            Err(error) => Some(format!("the replica at {address}: {error}")),
        };
        self.drains.fetch_add(1, Ordering::Relaxed);
        let mut faults = self.bad_drains.lock().unwrap_or_else(PoisonError::into_inner);
        faults.extend(fault);
    }
}

/// Runs the soak, prints what it found, and says whether all promises were kept.
///
/// # Errors
///
/// What keeps it from running at all.
pub(crate) async fn run(args: &Args) -> Result<bool, BoxError> {
    let started = Instant::now();
    let folder = tempfile::Builder::new().prefix("soak-").tempdir()?;
    let (world, replicas) = set_up(args, folder.path()).await?;
    println!(
        "soak: {} tasks, seed {}, {} replicas, {} at once, {} faults per 100 calls, a kill or a replacement about every {} ms",
        args.tasks, args.seed, args.replicas, args.at_once, args.faults, args.kill_every
    );
    println!(
        "time: polls every {:?} instead of 30 s and looks every {:?} instead of 10 s ({} times denser), collection after {COLLECT_AFTER:?} instead of 1 h, grace of abandoned runs {ABANDON_GRACE:?} instead of 30 s; deadlines, retries and the server's own times are as in production",
        settings(args).resync,
        settings(args).reconcile,
        args.faster
    );

    let (stop, stopped) = watch::channel(false);
    let chaos = tokio::spawn(havoc(args.clone(), Arc::clone(&world), replicas, stopped));
    let done = Arc::new(AtomicU64::new(0));
    let progress =
        tokio::spawn(progress(args.tasks, Arc::clone(&done), Arc::clone(&world), started));
    play(args, &world, &done).await?;
    progress.abort();
    stop.send_replace(true);
    let replicas = chaos.await??;

    // A run that was to be given up is given up now, or by the drain.
    sleep(ABANDON_GRACE * 2).await;
    let last: Vec<SocketAddr> = replicas.iter().map(|replica| replica.address).collect();
    for replica in replicas {
        world.drain(replica).await;
    }
    let left = world.stage.emulator.runs();
    let ledger = world.ledger();
    let (violations, runs) = ledger.close(&left);
    let bad_drains = world.bad_drains.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let figures = Figures {
        runs,
        kills: ledger.kills.len(),
        drains: world.drains.load(Ordering::Relaxed),
        faults: world.stage.emulator.fault_counts(),
        network: world.network.struck(),
        took: started.elapsed(),
    };
    summary::print(args, &ledger, &figures, &violations, &bad_drains);
    let is_good = violations.is_empty() && bad_drains.is_empty();
    drop(ledger);
    if !is_good {
        let kept = folder.keep();
        println!("the replicas' logs stay in {}; the last ones were at {last:?}", kept.display());
    }
    Ok(is_good)
}

/// Of ten thousand pieces on the network so many break their connection or are held up. Few: a connection carries many
/// calls, and a break is a fault for each of them.
fn network_share(percent: u8) -> u16 {
    u16::from(percent) * 3
}

/// Of ten thousand calls so many meet a fault of the workspace.
fn weather_share(percent: u8) -> u32 {
    u32::from(percent) * 100
}

fn settings(args: &Args) -> Settings {
    Settings { collect_after: COLLECT_AFTER, ..Settings::default().faster(args.faster) }
}

async fn set_up(
    args: &Args,
    folder: &std::path::Path,
) -> Result<(Arc<World>, Vec<Replica>), BoxError> {
    let emulator = Emulator::builder()
        .token(TOKEN)
        .faults(weather::plan(args.seed, weather_share(args.faults)))
        .start()
        .await?;
    let (authority, logs, outputs) =
        (folder.join("authority.pem"), folder.join("logs"), folder.join("outputs"));
    std::fs::write(&authority, emulator.certificate_pem())?;
    std::fs::create_dir(&logs)?;
    std::fs::create_dir(&outputs)?;
    let upstream = emulator.https_host().replacen("localhost", "127.0.0.1", 1).parse()?;
    let network = Network::start(upstream, args.seed, network_share(args.faults)).await?;
    let workspace = format!("localhost:{}", network.address.port());
    let recipe = Recipe {
        program: args.server.clone(),
        workspace: workspace.clone(),
        token: TOKEN.to_owned(),
        authority,
        logs,
        abandon_grace: ABANDON_GRACE.as_secs(),
        further: args.server_flags.clone(),
    };
    let mut replicas = Vec::new();
    for _ in 0..args.replicas {
        replicas.push(recipe.start().await?);
    }
    let addresses: Vec<SocketAddr> = replicas.iter().map(|replica| replica.address).collect();
    let backoff = ConnectBackoff { base: Duration::from_millis(50), max: Duration::from_secs(1) };
    let balancers: Vec<Arc<Balancer>> =
        Flavour::ALL.iter().map(|_| Arc::new(Balancer::new(&addresses, backoff))).collect();
    for balancer in &balancers {
        balancer.all_ready().await;
    }
    let world = World {
        stage: Arc::new(Stage::new(emulator, workspace, outputs)?),
        recipe,
        balancers,
        network,
        ledger: Mutex::new(Ledger { abandon_grace: ABANDON_GRACE, ..Ledger::default() }),
        drains: AtomicU64::new(0),
        bad_drains: Mutex::new(Vec::new()),
    };
    Ok((Arc::new(world), replicas))
}

/// Every executor, by the place of its flavour.
fn executors(world: &World) -> Vec<Executor> {
    let parts = Flavour::ALL.iter().zip(&world.balancers);
    parts
        .map(|(flavour, balancer)| {
            let (config, deadlines) = match flavour {
                Flavour::Stock => (ServiceConfig::stock(), Deadlines::default()),
                Flavour::Patient => {
                    (ServiceConfig::patient(), Deadlines::all(Some(Duration::from_secs(20))))
                }
                Flavour::Endless => (ServiceConfig::stock(), Deadlines::all(None)),
            };
            Executor::new(Client::new(Arc::clone(balancer), config), deadlines).with_polls(POLLS)
        })
        .collect()
}

/// Runs every task.
async fn play(args: &Args, world: &Arc<World>, done: &Arc<AtomicU64>) -> Result<(), BoxError> {
    let executors = executors(world);
    let room = Arc::new(Semaphore::new(args.at_once));
    let mut tasks = JoinSet::new();
    for number in 0..args.tasks {
        let room = Arc::clone(&room).acquire_owned().await?;
        let role = Role::of(args.seed, number);
        let place = Flavour::ALL.iter().position(|flavour| *flavour == role.flavour);
        let executor = place.and_then(|place| executors.get(place)).cloned();
        let executor = executor.ok_or("a flavour without an executor")?;
        let (world, done) = (Arc::clone(world), Arc::clone(done));
        let settings = settings(args);
        tasks.spawn(async move {
            let _room = room;
            let job = Job::prepare(Arc::clone(&world.stage), number, &role)?;
            let task = Task::new(settings, role.retries, Outputs::Fine, None);
            let fate = Fate {
                abort_after: role.abort_after,
                unstored: role.unstored,
                restart_after: role.restart_after,
                patience: PATIENCE,
            };
            let began = Instant::now();
            let finished = executor.run(task, &job, fate).await;
            keep(&world, &finished);
            world.ledger().tasks.insert(number, Record { role, began, finished });
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

/// Notes what became of the runs that the executor knew of, and lets the workspace forget those that are over, so that
/// it does not grow with the number of tasks.
fn keep(world: &World, finished: &Finished) {
    let launched = finished.calls.iter().filter(|call| call.verb == Verb::Create);
    let ids: BTreeSet<i64> = launched
        .filter_map(|call| match &call.outcome {
            Ok(Outcome::Launched(meta)) => run_id(meta),
            _ => None,
        })
        .collect();
    for id in ids {
        let Some(run) = world.stage.emulator.run(id).filter(|run| !ledger::is_alive(run)) else {
            continue;
        };
        world.ledger().over.push(run);
        world.stage.emulator.delete_run(id);
    }
}

fn run_id(meta: &[u8]) -> Option<i64> {
    let meta: serde_json::Value = serde_json::from_slice(meta).ok()?;
    meta.get("run_id")?.as_str()?.parse().ok()
}

/// Kills and replaces replicas, one at a time, until it is told to stop.
async fn havoc(
    args: Args,
    world: Arc<World>,
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
        let place = rng.usize(0..slots.len());
        let (is_kill, away) = (rng.u8(0..3) < 2, Duration::from_millis(rng.u64(0..500)));
        if is_kill {
            let killed = slots.swap_remove(place);
            let address = killed.address;
            world.ledger().kills.insert(address, Instant::now());
            killed.kill().await?;
            sleep(away).await;
            slots.push(world.recipe.start().await?);
            let last = slots.len() - 1;
            slots.swap(place, last);
        } else {
            // As a rollout does it: the new one is there before the old one goes.
            let mut old = world.recipe.start().await?;
            if let Some(slot) = slots.get_mut(place) {
                std::mem::swap(slot, &mut old);
            }
            let world = Arc::clone(&world);
            draining.push(tokio::spawn(async move { world.drain(old).await }));
        }
        if let Some(replica) = slots.get(place) {
            world.moved(place, replica.address);
        }
    }
    for drain in draining {
        drain.await.map_err(std::io::Error::other)?;
    }
    Ok(slots)
}

/// A line every five seconds.
async fn progress(tasks: u64, done: Arc<AtomicU64>, world: Arc<World>, started: Instant) {
    let mut ticks = interval(Duration::from_secs(5));
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let done = done.load(Ordering::Relaxed);
        let seconds = started.elapsed().as_secs();
        println!(
            "{seconds} s: {done} of {tasks} tasks done, {} kills, {} drains, {} faults",
            world.ledger().kills.len(),
            world.drains.load(Ordering::Relaxed),
            world.struck(),
        );
    }
}
