//! Layers that bound the number of calls.
//!
//! [`AdmissionLayer`] bounds the running and queued calls together, and rejects further ones.
//! [`ConcurrencyLayer`] bounds the running calls, and queues further ones. The request is read
//! between the two layers, so that slow clients occupy the queue and not the connectors.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;
use tower::{Layer, Service, ServiceExt as _};

use super::{
    limits::Limits,
    permits::{Permit, PermitPool, Permits, semaphore},
    rejection::{Inner, Rejection, ResponseFuture},
    route::{CallInfo, Route},
};
use crate::detached::Detached;

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
    pub(crate) detached: Detached,
}

impl Backlog {
    /// True if no further task may be created, given the maximum number of concurrent calls.
    fn is_full(&self, calls: usize) -> bool {
        let (all, detached) = (self.all.len(), self.detached.count());
        all.saturating_sub(detached) >= calls.saturating_mul(ATTACHED_PER_CALL)
            || detached >= calls.saturating_mul(DETACHED_PER_CALL)
    }
}

/// Rejects calls beyond the limit of running and queued calls, and new calls during shutdown.
#[derive(Debug, Clone)]
pub(super) struct AdmissionLayer(Arc<Slots>);

#[derive(Debug)]
struct Slots {
    calls: Arc<Semaphore>,
    health: Arc<Semaphore>,
    reflection: Arc<Semaphore>,
    backlog: Backlog,
    concurrency: usize,
    stop: CancellationToken,
}

impl AdmissionLayer {
    pub(super) fn new(limits: &Limits, backlog: Backlog, stop: CancellationToken) -> Self {
        Self(Arc::new(Slots {
            calls: semaphore(limits.calls.saturating_add(limits.queued)),
            health: semaphore(MAX_HEALTH_CALLS),
            reflection: semaphore(MAX_REFLECTION_STREAMS),
            backlog,
            concurrency: limits.calls,
            stop,
        }))
    }
}

impl Slots {
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
        let permit = Arc::clone(slots)
            .try_acquire_owned()
            .map_err(|_full| Rejection::busy("the server has too many calls"))?;
        Ok(permit.into())
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Admission<S> {
        Admission { inner, slots: Arc::clone(&self.0) }
    }
}

/// The service of [`AdmissionLayer`].
#[derive(Debug, Clone)]
pub(super) struct Admission<S> {
    inner: S,
    slots: Arc<Slots>,
}

impl<S: Inner<B>, B: Send + 'static> Service<Request<B>> for Admission<S> {
    type Response = Response<Body>;
    type Error = Rejection;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Rejection>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let slot = self.slots.acquire(CallInfo::of(&request).route);
        let inner = self.inner.clone();
        Box::pin(async move {
            let slot = slot?;
            let mut response = inner.oneshot(request).await?;
            Permits::attach(&mut response, slot);
            Ok(response)
        })
    }
}

/// Queues calls beyond the limit of running calls. Health and reflection are not counted.
#[derive(Debug, Clone)]
pub(super) struct ConcurrencyLayer(PermitPool);

impl ConcurrencyLayer {
    pub(super) fn new(calls: usize, stop: CancellationToken) -> Self {
        Self(PermitPool::new(calls, stop))
    }
}

impl<S> Layer<S> for ConcurrencyLayer {
    type Service = Concurrency<S>;

    fn layer(&self, inner: S) -> Concurrency<S> {
        Concurrency { inner, pool: self.0.clone() }
    }
}

/// The service of [`ConcurrencyLayer`].
#[derive(Debug, Clone)]
pub(super) struct Concurrency<S> {
    inner: S,
    pool: PermitPool,
}

impl<S: Inner<B>, B: Send + 'static> Service<Request<B>> for Concurrency<S> {
    type Response = Response<Body>;
    type Error = Rejection;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Rejection>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let info = CallInfo::of(&request);
        let (inner, pool) = (self.inner.clone(), self.pool.clone());
        Box::pin(async move {
            let Route::Call { .. } = info.route else { return inner.oneshot(request).await };
            let permit = pool.acquire(1, info.answer_by).await?;
            let mut response = inner.oneshot(request).await?;
            Permits::attach(&mut response, permit);
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detached_work_blocks_task_creation_later_than_attached_work() {
        let backlog = Backlog { all: TaskTracker::new(), detached: Detached::default() };
        let mut held: Vec<_> = (0..4).map(|_| (backlog.all.token(), None)).collect();
        assert!(!backlog.is_full(1));
        // A fifth attached one is too much; 19 detached ones are not.
        held.push((backlog.all.token(), None));
        assert!(backlog.is_full(1));
        held.pop();
        for _ in 0..19 {
            let mut guard = backlog.detached.guard();
            guard.detach();
            held.push((backlog.all.token(), Some(guard)));
        }
        assert!(!backlog.is_full(1));
        let mut guard = backlog.detached.guard();
        guard.detach();
        held.push((backlog.all.token(), Some(guard)));
        assert!(backlog.is_full(1));
    }
}
