//! Tasks being created: who waits for each, and whose work is given up (DESIGN §3.1).
//!
//! Flyte takes an error, or an answer that comes too late, for a failed attempt and starts the next one: work that comes
//! of such a creation belongs to nobody, and is given up after a grace time. A caller that merely went away comes back
//! with the same attempt, perhaps to another replica, so that work is left alone. All of this is memory of one process,
//! bounded, and only ever an optimisation.

mod callers;
#[cfg(test)]
mod tests;
mod work;

pub(super) use work::carry_out;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use connector_core::{CreateContext, Error, ErrorKind, TaskType};
use flyteidl2::connector::CreateTaskRequest;
use prost::Message as _;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use self::callers::{Callers, Told, Verdict};
use super::outcome::too_late;
use crate::detached::Detached;

/// How many attempts are remembered whose work was given up.
const MAX_PAST: usize = 10_000;

/// What came of a creation: the resource meta, or why there is none.
pub(super) type Outcome = Result<Vec<u8>, Error>;

/// Every creation that this process knows of. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Creations(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    grace: Duration,
    known: Mutex<HashMap<Key, Known>>,
    unnamed: AtomicU64,
    unawaited: Detached,
    /// When every grace time ends at the latest, once the server stops.
    stop: watch::Sender<Option<Instant>>,
}

/// What a creation is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// One attempt of a task: its encoded execution id, and where its outputs go.
    Attempt(Vec<u8>, String),
    /// A request that names no execution, which nobody can send again in a way that we would notice.
    Unnamed(u64),
}

#[derive(Debug)]
struct Known {
    /// How often the work of this attempt was given up.
    abandoned: u32,
    stage: Stage,
    touched: Instant,
}

#[derive(Debug)]
enum Stage {
    InFlight(InFlight),
    /// The work is given up when the grace time is over, unless somebody asks for it again.
    Grace(CancellationToken, Leftover),
    /// The work was given up. The next request for the attempt must not get it.
    Past,
}

/// Work that Flyte was told does not exist.
#[derive(Debug, Clone)]
struct Leftover {
    /// None when nobody knows whether there is any work.
    meta: Option<Vec<u8>>,
}

#[derive(Debug)]
struct InFlight {
    request: Arc<CreateTaskRequest>,
    /// What this request claimed from the grace time of the one before it. It is nobody's again if the request fails.
    claimed: Option<Leftover>,
    outcome: watch::Receiver<Option<Outcome>>,
    callers: Callers,
    changed: Arc<Notify>,
}

/// How a request to create a task goes on.
#[derive(Debug)]
pub(super) enum Begun {
    /// The same request is being worked on already.
    Joined(Caller),
    /// The work is to be done by this call, under this ticket.
    Started(Caller, Ticket),
}

impl Creations {
    /// None known. `grace` is how long work that nobody got is kept.
    pub(crate) fn new(grace: Duration) -> Self {
        Self(Arc::new(Inner {
            grace,
            known: Mutex::new(HashMap::new()),
            unnamed: AtomicU64::new(0),
            unawaited: Detached::default(),
            stop: watch::Sender::new(None),
        }))
    }

    /// The server stops: no grace time lasts longer than until then.
    pub(crate) fn end_graces(&self, at: Instant) {
        self.0.stop.send_replace(Some(at));
    }

    /// A request to create a task has come. One that is like the one in flight for the same attempt joins it; one that
    /// differs waits for it, for at most that long; any other starts. Work in its grace time is claimed by it.
    ///
    /// # Errors
    ///
    /// `DeadlineExceeded` when another request for the same attempt is still in flight then.
    pub(super) async fn begin(
        &self,
        request: CreateTaskRequest,
        answer_at: Instant,
    ) -> Result<Begun, Error> {
        let key = self.key_of(&request);
        let request = Arc::new(in_one_order(request));
        loop {
            let mut outcome = match self.try_begin(&key, &request) {
                Ok(begun) => return Ok(begun),
                Err(in_flight) => in_flight,
            };
            let settled = async { while outcome.changed().await.is_ok() {} };
            tokio::time::timeout_at(answer_at, settled).await.map_err(|_elapsed| too_late())?;
        }
    }

    /// What goes on for callers who have their answer.
    pub(crate) fn unawaited(&self) -> &Detached {
        &self.0.unawaited
    }

    fn grace(&self) -> Duration {
        self.0.grace
    }

    fn is_stopping(&self) -> bool {
        self.0.stop.borrow().is_some()
    }

    /// Waits for that time, or until the server stops.
    async fn time_or_stop(&self, time: Duration) {
        let mut stop = self.0.stop.subscribe();
        // Over, or stopping: either is an end.
        drop(tokio::time::timeout(time, stop.wait_for(Option::is_some)).await);
    }

    /// Joins or starts; else what another request for the attempt, which differs, is waiting for.
    fn try_begin(
        &self,
        key: &Key,
        request: &Arc<CreateTaskRequest>,
    ) -> Result<Begun, watch::Receiver<Option<Outcome>>> {
        let mut known = self.lock();
        let (abandoned, claimed) = match known.get_mut(key) {
            None => (0, None),
            Some(Known { stage: Stage::InFlight(in_flight), .. }) => {
                if in_flight.request != *request {
                    return Err(in_flight.outcome.clone());
                }
                in_flight.callers.joined();
                let outcome = in_flight.outcome.clone();
                return Ok(Begun::Joined(Caller::new(self, key, outcome)));
            }
            Some(Known { stage: Stage::Grace(claim, leftover), abandoned, .. }) => {
                claim.cancel();
                (*abandoned, Some(leftover.clone()))
            }
            Some(Known { stage: Stage::Past, abandoned, .. }) => (*abandoned, None),
        };
        let (publish, outcome) = watch::channel(None);
        let in_flight = InFlight {
            request: Arc::clone(request),
            claimed,
            outcome: outcome.clone(),
            callers: Callers::one(),
            changed: Arc::new(Notify::new()),
        };
        let stage = Stage::InFlight(in_flight);
        known.insert(key.clone(), Known { abandoned, stage, touched: Instant::now() });
        let caller = Caller::new(self, key, outcome);
        let ticket = Ticket {
            creations: self.clone(),
            key: key.clone(),
            request: Arc::clone(request),
            publish,
            abandoned,
        };
        Ok(Begun::Started(caller, ticket))
    }

    fn key_of(&self, request: &CreateTaskRequest) -> Key {
        let attempt = request
            .task_execution_metadata
            .as_ref()
            .and_then(|execution| execution.task_execution_id.as_ref())
            .filter(|id| id.node_execution_id.is_some());
        match attempt {
            Some(id) => Key::Attempt(id.encode_to_vec(), request.output_prefix.clone()),
            None => Key::Unnamed(self.0.unnamed.fetch_add(1, Ordering::Relaxed)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Known>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Inputs come in the random order of a Go map (FC §1.3), so that the same request differs from itself.
fn in_one_order(mut request: CreateTaskRequest) -> CreateTaskRequest {
    if let Some(inputs) = &mut request.inputs {
        inputs.literals.sort_by(|one, other| one.name.cmp(&other.name));
    }
    request
}

/// One caller who waits for a creation. Dropped without an answer, it is one who went away.
#[derive(Debug)]
pub(super) struct Caller {
    creations: Creations,
    key: Key,
    outcome: watch::Receiver<Option<Outcome>>,
    told: Told,
}

impl Caller {
    fn new(creations: &Creations, key: &Key, outcome: watch::Receiver<Option<Outcome>>) -> Self {
        Self { creations: creations.clone(), key: key.clone(), outcome, told: Told::Nothing }
    }

    /// The outcome, or `DeadlineExceeded` at that time.
    pub(super) async fn answer(mut self, answer_at: Instant) -> Outcome {
        let waited = tokio::time::timeout_at(answer_at, self.outcome.wait_for(Option::is_some));
        let answer = match waited.await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or_else(|| Err(stopping())),
            // The work cannot end without an outcome, unless the runtime itself is going down.
            Ok(Err(_gone)) => Err(stopping()),
            // The work goes on, and is given up if it comes of it.
            Err(_elapsed) => Err(too_late().with_may_have_started(true)),
        };
        self.told = if answer.is_ok() { Told::Outcome } else { Told::Error };
        answer
    }
}

fn stopping() -> Error {
    Error::new(ErrorKind::Unavailable, "the server is stopping")
}

impl Drop for Caller {
    fn drop(&mut self) {
        if let Some(Known { stage: Stage::InFlight(in_flight), .. }) =
            self.creations.lock().get_mut(&self.key)
        {
            in_flight.callers.left(self.told);
            in_flight.changed.notify_one();
        }
    }
}

/// The right and the duty to do the work of one creation.
#[derive(Debug)]
pub(super) struct Ticket {
    creations: Creations,
    key: Key,
    request: Arc<CreateTaskRequest>,
    publish: watch::Sender<Option<Outcome>>,
    abandoned: u32,
}

impl Ticket {
    /// What the connector is told.
    pub(super) fn context(
        &self,
        task_type: TaskType,
        deadline: std::time::Instant,
    ) -> CreateContext {
        let mut cx = CreateContext::from(self.request.as_ref().clone())
            .with_abandoned_creates(self.abandoned)
            .with_deadline(Some(deadline));
        cx.task_type = task_type;
        cx
    }

    /// Tells every caller, waits until each was answered or has gone, and gives what is to be done about work that
    /// nobody got: none when somebody got it, or may come back for it.
    pub(super) async fn settle(self, outcome: Outcome) -> Option<Abandonment> {
        self.publish.send_replace(Some(outcome.clone()));
        let changed = match self.creations.lock().get(&self.key) {
            Some(Known { stage: Stage::InFlight(in_flight), .. }) => Arc::clone(&in_flight.changed),
            _ => return None,
        };
        let claim = CancellationToken::new();
        let leftover = loop {
            let notified = changed.notified();
            match self.try_settle(&outcome, &claim) {
                Settled::Waited => notified.await,
                Settled::Kept => return None,
                Settled::Left(leftover) => break leftover,
            }
        };
        Some(Abandonment {
            creations: self.creations.clone(),
            key: self.key.clone(),
            claim,
            meta: leftover.meta,
        })
    }

    /// What becomes of the work, which the claim can undo during the grace time.
    fn try_settle(&self, outcome: &Outcome, claim: &CancellationToken) -> Settled {
        let mut known = self.creations.lock();
        let Entry::Occupied(mut entry) = known.entry(self.key.clone()) else {
            return Settled::Kept;
        };
        let Stage::InFlight(in_flight) = &mut entry.get_mut().stage else { return Settled::Kept };
        match in_flight.callers.verdict(outcome, in_flight.claimed.is_some()) {
            None => return Settled::Waited,
            Some(Verdict::GiveUp) => {
                let claimed = in_flight.claimed.take().and_then(|leftover| leftover.meta);
                let leftover = Leftover { meta: outcome.as_ref().ok().cloned().or(claimed) };
                entry.get_mut().stage = Stage::Grace(claim.clone(), leftover.clone());
                return Settled::Left(leftover);
            }
            Some(Verdict::Keep) if self.abandoned > 0 => entry.get_mut().stage = Stage::Past,
            Some(Verdict::Keep) => {
                entry.remove();
            }
        }
        Settled::Kept
    }
}

/// What became of the work of a creation.
#[derive(Debug)]
enum Settled {
    /// Somebody still waits for it.
    Waited,
    /// Somebody has it, or may come back for it, or there is none.
    Kept,
    /// It belongs to nobody.
    Left(Leftover),
}

/// Work that nobody got.
#[derive(Debug)]
pub(super) struct Abandonment {
    creations: Creations,
    key: Key,
    claim: CancellationToken,
    /// None when nobody knows whether there is any work.
    pub(super) meta: Option<Vec<u8>>,
}

impl Abandonment {
    /// Waits out the grace time. Whether the work is to be given up now: not when it was claimed.
    pub(super) async fn is_due(&self) -> bool {
        let inner = &self.creations.0;
        let mut until = Instant::now() + inner.grace;
        let mut stop = inner.stop.subscribe();
        loop {
            if let Some(stop) = *stop.borrow_and_update() {
                until = until.min(stop);
            }
            tokio::select! {
                () = self.claim.cancelled() => return false,
                () = tokio::time::sleep_until(until) => break,
                Ok(()) = stop.changed() => {}
            }
        }
        let mut known = self.creations.lock();
        // A claim takes the same lock, so that either it or the giving up comes first.
        if self.claim.is_cancelled() {
            return false;
        }
        match known.entry(self.key.clone()) {
            Entry::Occupied(entry) if matches!(self.key, Key::Unnamed(_)) => {
                entry.remove();
            }
            Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                known.abandoned = known.abandoned.saturating_add(1);
                known.stage = Stage::Past;
                known.touched = Instant::now();
            }
            Entry::Vacant(_) => {}
        }
        forget_oldest(&mut known);
        true
    }
}

/// Keeps memory of work that was given up within bounds: the older half goes.
fn forget_oldest(known: &mut HashMap<Key, Known>) {
    let mut past: Vec<Instant> = known
        .values()
        .filter(|known| matches!(known.stage, Stage::Past))
        .map(|known| known.touched)
        .collect();
    if past.len() <= MAX_PAST {
        return;
    }
    let middle = past.len() / 2;
    let (_, median, _) = past.select_nth_unstable(middle);
    let median = *median;
    known.retain(|_, known| !matches!(known.stage, Stage::Past) || known.touched > median);
}
