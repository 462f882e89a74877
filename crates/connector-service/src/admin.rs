//! The HTTP port: `/livez`, `/readyz`, optionally `/status`, and metrics on every other path, as the Python server has
//! them on every path (flyte-contract.md#python-metrics).

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

/// Whether the server accepts new calls. Clones share the state.
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
    /// None: `/status` is disabled.
    status: Option<Arc<StatusPage>>,
}

/// Returns the routes of the port.
pub(crate) fn router(
    metrics: Arc<Metrics>,
    readiness: Readiness,
    status: Option<StatusPage>,
) -> Router {
    let shared = Shared { metrics, readiness, status: status.map(Arc::new) };
    Router::new().fallback(respond).with_state(shared)
}

async fn respond(State(shared): State<Shared>, request: Request) -> Response {
    if request.method() != Method::GET {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")]).into_response();
    }
    match (request.uri().path(), &shared.status) {
        ("/status", Some(status)) => {
            let headers =
                [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
            (headers, status.render(!shared.readiness.get())).into_response()
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

    async fn send(router: &Router, method: Method, path: &str) -> Response {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn readiness_changes_and_liveness_does_not() {
        let readiness = Readiness::default();
        let router = router(Arc::new(Metrics::new([])), readiness.clone(), None);
        assert_eq!(
            send(&router, Method::GET, "/readyz").await.status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        readiness.set(true);
        assert_eq!(send(&router, Method::GET, "/readyz").await.status(), StatusCode::OK);
        readiness.set(false);
        assert_eq!(
            send(&router, Method::GET, "/readyz").await.status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(send(&router, Method::GET, "/livez").await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn other_paths_serve_metrics_and_only_get_is_allowed() {
        let router = router(Arc::new(Metrics::new([])), Readiness::default(), None);
        for path in ["/", "/metrics", "/any/where"] {
            let response = send(&router, Method::GET, path).await;
            assert_eq!(
                response.headers()[header::CONTENT_TYPE],
                "text/plain; version=0.0.4; charset=utf-8",
                "{path}"
            );
        }
        for method in [Method::POST, Method::HEAD, Method::PUT] {
            assert_eq!(
                send(&router, method.clone(), "/metrics").await.status(),
                StatusCode::METHOD_NOT_ALLOWED,
                "{method}"
            );
        }
    }
}
