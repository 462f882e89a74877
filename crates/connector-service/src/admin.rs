//! The HTTP port: metrics on every path but `/livez`, `/readyz` and, when it is switched on, `/status`, as the Python
//! server answers on every path (FC §2.7).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode, header};

use crate::metrics::{Exposition, Metrics};

mod serve;
mod status_page;

pub(crate) use serve::serve;
pub(crate) use status_page::StatusPage;

/// Whether new calls should come here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub(crate) fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[derive(Clone)]
struct Shared {
    metrics: Arc<Metrics>,
    readiness: Readiness,
    /// None: there is no such page.
    status: Option<Arc<StatusPage>>,
}

/// The pages of the port.
pub(crate) fn router(
    metrics: Arc<Metrics>,
    readiness: Readiness,
    status: Option<StatusPage>,
) -> Router {
    let shared = Shared { metrics, readiness, status: status.map(Arc::new) };
    Router::new().fallback(answer).with_state(shared)
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    if request.method() != Method::GET {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")]).into_response();
    }
    match (request.uri().path(), &shared.status) {
        ("/status", Some(status)) => {
            let head =
                [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
            (head, status.write(!shared.readiness.get())).into_response()
        }
        ("/livez", _) => (StatusCode::OK, "ok\n").into_response(),
        ("/readyz", _) if shared.readiness.get() => (StatusCode::OK, "ok\n").into_response(),
        ("/readyz", _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
        _ => {
            let accept =
                request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
            let exposition = Exposition::accepted(accept);
            let body = shared.metrics.scrape(exposition);
            ([(header::CONTENT_TYPE, exposition.content_type())], body).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(router: &Router, method: Method, path: &str) -> Response {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn readiness_follows_its_switch_and_liveness_does_not() {
        let readiness = Readiness::default();
        let router = router(Arc::new(Metrics::new([])), readiness.clone(), None);
        assert_eq!(
            ask(&router, Method::GET, "/readyz").await.status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        readiness.set(true);
        assert_eq!(ask(&router, Method::GET, "/readyz").await.status(), StatusCode::OK);
        readiness.set(false);
        assert_eq!(
            ask(&router, Method::GET, "/readyz").await.status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(ask(&router, Method::GET, "/livez").await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn every_other_path_answers_metrics_and_get_alone_is_allowed() {
        let router = router(Arc::new(Metrics::new([])), Readiness::default(), None);
        for path in ["/", "/metrics", "/any/where"] {
            let answer = ask(&router, Method::GET, path).await;
            assert_eq!(
                answer.headers()[header::CONTENT_TYPE],
                "text/plain; version=0.0.4; charset=utf-8",
                "{path}"
            );
        }
        for method in [Method::POST, Method::HEAD, Method::PUT] {
            assert_eq!(
                ask(&router, method.clone(), "/metrics").await.status(),
                StatusCode::METHOD_NOT_ALLOWED,
                "{method}"
            );
        }
    }
}
