//! Where every call passes on its way to a service.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use connector_core::ErrorKind;
use http::{Request, Response};
use hyper::body::{Body as _, Incoming};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, service::Routes};
use tower::ServiceExt as _;

use super::{
    Arrived, Callers, HealthAccess, Rules,
    admission::{Admission, Places, Refused, Work},
    answer::Holding,
    class::Class,
    peer::Peer,
    sparing::Sparing,
    upload::Message,
};
use crate::{
    deadline::Deadline,
    metrics::{Metrics, Refusal},
    status::{self, Pushback},
};

/// When a call that was refused for want of room may come again, at the earliest.
const COME_BACK: Duration = Duration::from_millis(500);

/// What every call of one server passes.
#[derive(Debug)]
pub(super) struct Gate {
    routes: Routes,
    callers: Callers,
    health: HealthAccess,
    admission: Admission,
    default_timeout: Duration,
    answer_time: Duration,
    metrics: Arc<Metrics>,
    refusals: Sparing,
}

impl Gate {
    pub(super) fn new(
        routes: Routes,
        rules: &Rules,
        metrics: Arc<Metrics>,
        work: Work,
        stop: CancellationToken,
    ) -> Self {
        Self {
            routes: routes.prepare(),
            callers: rules.callers.clone(),
            health: rules.health,
            admission: Admission::new(&rules.limits, work, stop),
            default_timeout: rules.default_timeout,
            answer_time: rules.limits.answer_time,
            metrics,
            refusals: Sparing::default(),
        }
    }

    /// The services' answer, or the refusal. `cut` ends the connection.
    pub(super) async fn answer(
        &self,
        peer: &Peer,
        cut: &CancellationToken,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let class = Class::of(request.uri().path());
        let (mut places, request) = match self.admit(class, peer, request).await {
            Ok(admitted) => admitted,
            Err(refused) => return Ok(self.refuse(class, &refused).into_http()),
        };
        let answer = self.routes.clone().oneshot(request).await?;
        places.answered();
        if answer.body().is_end_stream() {
            return Ok(answer);
        }
        let patience = matches!(class, Class::Call { .. }).then(|| (self.answer_time, cut.clone()));
        Ok(answer.map(|body| Body::new(Holding::new(body, places, patience))))
    }

    async fn admit(
        &self,
        class: Class,
        peer: &Peer,
        request: Request<Incoming>,
    ) -> Result<(Places, Request<Message>), Refused> {
        let arrived = Instant::now();
        if class != Class::Health || self.health != HealthAccess::Open {
            self.callers.admit(peer, request.headers()).map_err(|error| {
                let known = error.kind() == ErrorKind::Forbidden;
                let reason = if known { Refusal::Forbidden } else { Refusal::Unauthenticated };
                Refused { reason, error }
            })?;
        }
        let deadline = Deadline::of(request.headers(), arrived, self.default_timeout);
        let (mut parts, body) = request.into_parts();
        let (places, message) = self.admission.enter(class, body, deadline.answer).await?;
        parts.extensions.insert(Arrived(arrived));
        if let Some(room) = places.room() {
            parts.extensions.insert(room.clone());
        }
        Ok((places, Request::from_parts(parts, message)))
    }

    fn refuse(&self, class: Class, refused: &Refused) -> Status {
        let Refused { reason, error } = refused;
        self.metrics.refused(*reason);
        if let Some(untold) = self.refusals.turn() {
            tracing::warn!(
                ?class,
                error = status::message(error),
                detail = error.detail(),
                untold,
                "a call was refused at the door"
            );
        }
        match reason {
            Refusal::Busy => {
                status::pushed_back(error, Pushback::After(come_back(fastrand::f64())))
            }
            Refusal::TooLarge => status::pushed_back(error, Pushback::Never),
            _ => status::from_error(error),
        }
    }
}

/// Between once and three times the shortest time, so that those refused together do not come back together.
/// `chance` is in 0..1.
fn come_back(chance: f64) -> Duration {
    COME_BACK.mul_f64(1.0 + 2.0 * chance)
}
