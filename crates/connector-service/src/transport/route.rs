//! Classifies a call by its path and records its arrival.

use std::time::{Duration, Instant};

use flyteidl2::connector::async_connector_service_server::SERVICE_NAME as ASYNC_CONNECTOR;
use http::Request;

use crate::deadline::Deadline;

/// The class of an RPC path. Each class has its own limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// The gRPC health service, whose watches are long-lived.
    Health,
    /// Reflection, whose streams are long-lived and bidirectional.
    Reflection,
    /// Any other call. Has one request message.
    Call {
        /// True for `CreateTask`, which starts work that outlives the call.
        creates: bool,
    },
}

impl Route {
    /// Classifies a path, `/service/method`.
    pub(super) fn of(path: &str) -> Self {
        match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
            Some(("grpc.health.v1.Health", _)) => Self::Health,
            Some((
                "grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection",
                _,
            )) => Self::Reflection,
            Some((ASYNC_CONNECTOR, "CreateTask")) => Self::Call { creates: true },
            _ => Self::Call { creates: false },
        }
    }
}

/// Request extension with the facts about a call that later layers and the services use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallInfo {
    pub(super) route: Route,
    /// Arrival of the headers. Deadlines count from here, not from the end of the message.
    pub(crate) arrived: Instant,
    /// Time by which the server must respond.
    pub(super) respond_by: Instant,
}

impl CallInfo {
    fn new<B>(request: &Request<B>, default_timeout: Duration) -> Self {
        let arrived = Instant::now();
        let path = request.uri().path();
        let method = path.rsplit('/').next().unwrap_or_default();
        Self {
            route: Route::of(path),
            arrived,
            respond_by: Deadline::of(method, request.headers(), arrived, default_timeout).response,
        }
    }

    /// Inserts the extension. `default_timeout` is the deadline of calls that carry none.
    pub(super) fn insert<B>(mut request: Request<B>, default_timeout: Duration) -> Request<B> {
        let info = Self::new(&request, default_timeout);
        request.extensions_mut().insert(info);
        request
    }

    /// Returns the extension that [`Self::insert`] has inserted.
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        // Without the extension the call has just arrived, and has no time to wait.
        request.extensions().get().copied().unwrap_or_else(|| Self::new(request, Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_matched_exactly() {
        for (path, route) in [
            ("/grpc.health.v1.Health/Check", Route::Health),
            ("/grpc.health.v1.Health/Watch", Route::Health),
            ("/grpc.health.v1.Healthy/Check", Route::Call { creates: false }),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Route::Reflection),
            ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Route::Reflection),
            (
                "/flyteidl2.connector.AsyncConnectorService/CreateTask",
                Route::Call { creates: true },
            ),
            ("/flyteidl2.connector.AsyncConnectorService/GetTask", Route::Call { creates: false }),
            ("/", Route::Call { creates: false }),
            ("*", Route::Call { creates: false }),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }
}
