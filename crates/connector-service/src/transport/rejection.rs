//! Layer that turns the rejections of the layers below into gRPC statuses, and counts and logs them.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Request, Response};
use tonic::{Status, body::Body};

use super::{
    log_throttle::LogThrottle,
    middleware::{Middleware, Next, Rejection},
    route::{CallInfo, Route},
};
use crate::{
    metrics::{Metrics, RejectionReason},
    status::{self, Pushback},
};

/// Shortest retry delay of calls that were rejected because the server is busy.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(500);

/// Responds to rejected calls.
#[derive(Debug, Clone)]
pub(super) struct Rejecting {
    metrics: Arc<Metrics>,
    log: Arc<LogThrottle>,
}

impl<B: Send + 'static> Middleware<B> for Rejecting {
    type NextBody = B;
    type Error = Infallible;

    async fn handle(
        self,
        request: Request<B>,
        next: impl Next<B>,
    ) -> Result<Response<Body>, Infallible> {
        let route = CallInfo::of(&request).route;
        let response = next.run(request).await;
        Ok(response.unwrap_or_else(|rejection| self.status(route, &rejection).into_http()))
    }
}

impl Rejecting {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, log: Arc::default() }
    }

    fn status(&self, route: Route, Rejection { reason, error }: &Rejection) -> Status {
        self.metrics.rejected(*reason);
        if let Some(suppressed) = self.log.permit() {
            tracing::warn!(
                ?route,
                error = status::message(error),
                detail = error.detail(),
                suppressed,
                "call rejected by the transport"
            );
        }
        match reason {
            RejectionReason::Busy => {
                status::pushed_back(error, Pushback::After(retry_delay(fastrand::f64())))
            }
            RejectionReason::TooLarge => status::pushed_back(error, Pushback::Never),
            _ => status::from_error(error),
        }
    }
}

/// Returns one to three times the shortest delay, so that clients rejected together do not return together.
/// `random` is in 0..1.
fn retry_delay(random: f64) -> Duration {
    MIN_RETRY_DELAY.mul_f64(1.0 + 2.0 * random)
}
