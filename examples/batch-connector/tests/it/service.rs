//! The batch service: the job API in memory, with faults. Also served by `examples/job_api.rs`.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::Listener,
};
use batch_connector::job_api::{Job, JobState, NewJob};
use connector_core::testing::{Fault, FaultyCalls, JobEnd};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
};

/// The token that the service accepts.
pub const TOKEN: &str = "batch-token-do-not-print";

/// A running service. Clones share its state.
#[derive(Debug, Clone, Default)]
pub struct Service {
    jobs: Arc<Mutex<Jobs>>,
    /// While true, calls wait.
    hold: Arc<watch::Sender<bool>>,
    held: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Jobs {
    by_id: BTreeMap<String, (NewJob, Job)>,
    started: usize,
    fault: Option<Fault>,
    only_starts_are_faulty: bool,
    /// Polls after which a job ends by itself.
    polls: Option<usize>,
    polled: BTreeMap<String, usize>,
}

impl Service {
    /// Serves on this port of 127.0.0.1; 0 takes a free one. Ends with the runtime.
    pub async fn serve(&self, port: u16) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let routes = Router::new()
            .route("/jobs", post(submit).get(list))
            .route("/jobs/{id}", get(show))
            .route("/jobs/{id}/cancel", post(cancel))
            .with_state(self.clone());
        let faulty = Faulty { listener, service: self.clone() };
        tokio::spawn(async move { axum::serve(faulty, routes).await });
        Ok(address)
    }

    /// Lets every job succeed at its `polls`th poll.
    pub fn end_after(&self, polls: usize) {
        self.lock().polls = Some(polls);
    }

    /// Puts a fault in force for every call, or heals the service.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.set_fault_of(fault, FaultyCalls::All);
    }

    /// Puts a fault in force for these calls, or heals the service.
    pub fn set_fault_of(&self, fault: Option<Fault>, calls: FaultyCalls) {
        let mut jobs = self.lock();
        (jobs.fault, jobs.only_starts_are_faulty) = (fault, calls == FaultyCalls::Start);
    }

    /// Lets calls wait before they take effect, or go on.
    pub fn hold_calls(&self, hold: bool) {
        self.hold.send_replace(hold);
    }

    /// Waits until a call is held.
    pub async fn until_held(&self) {
        self.held.notified().await;
    }

    /// Ends every active job.
    pub fn end_jobs(&self, end: JobEnd) {
        for (_, job) in self.lock().by_id.values_mut().filter(|(_, job)| is_active(job)) {
            (job.state, job.reason) = match end {
                JobEnd::Success => (JobState::Succeeded, None),
                JobEnd::Failure => (JobState::Failed, Some("exit code 1".to_owned())),
            };
        }
    }

    /// Forgets every job.
    pub fn forget_jobs(&self) {
        self.lock().by_id.clear();
    }

    /// Returns the number of jobs ever started.
    pub fn started(&self) -> usize {
        self.lock().started
    }

    /// Returns the number of jobs that have not ended.
    pub fn active(&self) -> usize {
        self.lock().by_id.values().filter(|(_, job)| is_active(job)).count()
    }

    /// Returns the number of jobs that succeeded.
    pub fn succeeded(&self) -> usize {
        let jobs = self.lock();
        jobs.by_id.values().filter(|(_, job)| job.state == JobState::Succeeded).count()
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a call: `effect` takes place unless the fault prevents it.
    async fn answer<T: serde::Serialize>(
        &self,
        is_start: bool,
        headers: &HeaderMap,
        effect: impl FnOnce(&mut Jobs) -> Option<T>,
    ) -> Response {
        if *self.hold.borrow() {
            self.held.notify_one();
            // Ends when the sender is dropped, too.
            drop(self.hold.subscribe().wait_for(|hold| !hold).await);
        }
        let fault = {
            let jobs = self.lock();
            jobs.fault.filter(|_| is_start || !jobs.only_starts_are_faulty)
        };
        let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let mut response = match fault {
            Some(Fault::ServerError) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            Some(Fault::RateLimited) => StatusCode::TOO_MANY_REQUESTS.into_response(),
            Some(Fault::CredentialRejected) => StatusCode::UNAUTHORIZED.into_response(),
            _ if token != Some(&format!("Bearer {TOKEN}")) => {
                StatusCode::UNAUTHORIZED.into_response()
            }
            _ => {
                let answer = effect(&mut self.lock());
                match fault {
                    Some(Fault::MalformedAnswer) => "{\"id\":".into_response(),
                    Some(Fault::LostAnswer) => broken_off(),
                    Some(Fault::Hang) => std::future::pending().await,
                    _ => answer.map_or_else(
                        || StatusCode::NOT_FOUND.into_response(),
                        |answer| Json(answer).into_response(),
                    ),
                }
            }
        };
        // Each call has a connection, so that a fault of connections meets every call.
        response
            .headers_mut()
            .insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        response
    }
}

/// A response whose connection breaks before the body is complete.
fn broken_off() -> Response {
    let pieces = [Ok(Bytes::from_static(b"{")), Err(io::Error::other("connection lost"))];
    Body::from_stream(futures_util::stream::iter(pieces)).into_response()
}

fn is_active(job: &Job) -> bool {
    matches!(job.state, JobState::Queued | JobState::Running)
}

async fn submit(
    State(service): State<Service>,
    headers: HeaderMap,
    Json(new): Json<NewJob>,
) -> Response {
    let effect = |jobs: &mut Jobs| {
        if let Some((_, job)) = jobs.by_id.values().find(|(known, _)| known.key == new.key) {
            return Some(job.clone());
        }
        jobs.started += 1;
        let id = format!("job-{}", jobs.started);
        let job = Job {
            id: id.clone(),
            state: JobState::Running,
            reason: None,
            attempt: new.attempt,
            key: new.key.clone(),
        };
        jobs.by_id.insert(id, (new, job.clone()));
        Some(job)
    };
    service.answer(true, &headers, effect).await
}

async fn list(
    State(service): State<Service>,
    headers: HeaderMap,
    Query(filter): Query<BTreeMap<String, String>>,
) -> Response {
    let effect = |jobs: &mut Jobs| {
        let action = filter.get("action");
        let active = jobs.by_id.values().filter(|(new, job)| {
            is_active(job) && action.is_none_or(|action| *action == new.action)
        });
        Some(active.map(|(_, job)| job.clone()).collect::<Vec<_>>())
    };
    service.answer(false, &headers, effect).await
}

async fn show(
    State(service): State<Service>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let effect = |jobs: &mut Jobs| {
        let polled = jobs.polled.entry(id.clone()).or_default();
        *polled += 1;
        let has_ended = jobs.polls.is_some_and(|polls| *polled >= polls);
        let (_, job) = jobs.by_id.get_mut(&id)?;
        if has_ended && is_active(job) {
            job.state = JobState::Succeeded;
        }
        Some(job.clone())
    };
    service.answer(false, &headers, effect).await
}

async fn cancel(
    State(service): State<Service>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let effect = |jobs: &mut Jobs| {
        let (_, job) = jobs.by_id.get_mut(&id)?;
        if is_active(job) {
            job.state = JobState::Cancelled;
        }
        Some(job.clone())
    };
    service.answer(false, &headers, effect).await
}

/// Closes each connection while the service is unreachable.
struct Faulty {
    listener: TcpListener,
    service: Service,
}

impl Listener for Faulty {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let (stream, peer) = Listener::accept(&mut self.listener).await;
            if self.service.lock().fault != Some(Fault::Unreachable) {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
