//! Layers that bound the number of calls.
//!
//! [`Admission`] bounds the running and queued calls together, and rejects further ones.
//! [`Concurrency`] bounds the running calls, and queues further ones. The request is read
//! between the two layers, so that slow clients occupy the queue and not the connectors.

use std::sync::Arc;

use http::{Request, Response};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;

use super::{
    limits::Limits,
    middleware::{Middleware, Next, Rejection},
    permits::{Permit, PermitPool, Permits, semaphore},
    route::{CallInfo, Route},
};

/// Open health calls and watches. They do no work, but each takes memory.
const MAX_HEALTH_CALLS: usize = 1000;

/// Open reflection streams, which the server never ends.
const MAX_REFLECTION_STREAMS: usize = 32;

/// Unfinished attached work per concurrent call, above which no task is created. One `CreateTask` counts three times: in
/// the transport, as a call, and as a background task.
const ATTACHED_PER_CALL: usize = 5;

/// Unfinished detached work per concurrent call, above which no task is created. The bound is higher, because detached
/// work of a workspace that is down must not block task creation in other workspaces.
const DETACHED_PER_CALL: usize = 20;

/// The unfinished work of all calls.
#[derive(Debug, Clone)]
pub(crate) struct Backlog {
    /// Calls and background tasks. Shutdown waits for them.
    pub(crate) all: TaskTracker,
    /// The background tasks whose callers have their response.
    pub(crate) detached: TaskTracker,
}

impl Backlog {
    /// True if no further task may be created, given the maximum number of concurrent calls.
    fn is_full(&self, calls: usize) -> bool {
        let (all, detached) = (self.all.len(), self.detached.len());
        all.saturating_sub(detached) >= calls.saturating_mul(ATTACHED_PER_CALL)
            || detached >= calls.saturating_mul(DETACHED_PER_CALL)
    }
}

/// Rejects calls beyond the limit of running and queued calls, and new calls during shutdown.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    calls: Arc<Semaphore>,
    health: Arc<Semaphore>,
    reflection: Arc<Semaphore>,
    backlog: Backlog,
    concurrency: usize,
    stop: CancellationToken,
}

impl Admission {
    pub(super) fn new(limits: &Limits, backlog: Backlog, stop: CancellationToken) -> Self {
        Self {
            calls: semaphore(limits.calls.saturating_add(limits.queued)),
            health: semaphore(MAX_HEALTH_CALLS),
            reflection: semaphore(MAX_REFLECTION_STREAMS),
            backlog,
            concurrency: limits.calls,
            stop,
        }
    }

    fn acquire(&self, route: Route) -> Result<Permit, Rejection> {
        // Health is served during shutdown, to report it.
        if route != Route::Health && self.stop.is_cancelled() {
            return Err(Rejection::stopping());
        }
        let slots = match route {
            Route::Health => &self.health,
            Route::Reflection => &self.reflection,
            Route::Call { creates } => {
                if creates && self.backlog.is_full(self.concurrency) {
                    return Err(Rejection::busy("the server has too much unfinished work"));
                }
                &self.calls
            }
        };
        match Arc::clone(slots).try_acquire_owned() {
            Ok(permit) => Ok(Arc::new(permit)),
            Err(_full) => Err(Rejection::busy("the server has too many calls")),
        }
    }
}

impl<B: Send + 'static> Middleware<B> for Admission {
    type NextBody = B;
    type Error = Rejection;

    async fn handle(
        self,
        request: Request<B>,
        next: impl Next<B>,
    ) -> Result<Response<Body>, Rejection> {
        let slot = self.acquire(CallInfo::of(&request).route)?;
        let mut response = next.run(request).await?;
        Permits::attach(&mut response, slot);
        Ok(response)
    }
}

/// Queues calls beyond the limit of running calls. Health and reflection are not counted.
#[derive(Debug, Clone)]
pub(super) struct Concurrency(pub(super) PermitPool);

impl<B: Send + 'static> Middleware<B> for Concurrency {
    type NextBody = B;
    type Error = Rejection;

    async fn handle(
        self,
        request: Request<B>,
        next: impl Next<B>,
    ) -> Result<Response<Body>, Rejection> {
        let info = CallInfo::of(&request);
        let Route::Call { .. } = info.route else { return next.run(request).await };
        let permit = self.0.acquire(1, info.respond_by).await?;
        let mut response = next.run(request).await?;
        Permits::attach(&mut response, permit);
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detached_work_blocks_task_creation_later_than_attached_work() {
        let backlog = Backlog { all: TaskTracker::new(), detached: TaskTracker::new() };
        let mut held: Vec<_> = (0..4).map(|_| (backlog.all.token(), None)).collect();
        assert!(!backlog.is_full(1));
        // A fifth attached one is too much; 19 detached ones are not.
        held.push((backlog.all.token(), None));
        assert!(backlog.is_full(1));
        held.pop();
        for _ in 0..19 {
            held.push((backlog.all.token(), Some(backlog.detached.token())));
        }
        assert!(!backlog.is_full(1));
        held.push((backlog.all.token(), Some(backlog.detached.token())));
        assert!(backlog.is_full(1));
    }
}
