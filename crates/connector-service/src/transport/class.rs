//! What kind of call a path is.

use flyteidl2::connector::async_connector_service_server::SERVICE_NAME as ASYNC_CONNECTOR;

/// What kind of call it is, as far as the door cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// The gRPC health service, whose watches last.
    Health,
    /// Reflection, whose streams last, in both directions.
    Reflection,
    /// Everything else: one message in.
    Call {
        /// Whether it starts work that outlives it.
        creates: bool,
    },
}

impl Class {
    /// The class of a path, `/service/method`.
    pub(super) fn of(path: &str) -> Self {
        match service_and_method(path) {
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

fn service_and_method(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix('/')?.split_once('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_classed_as_a_whole() {
        for (path, class) in [
            ("/grpc.health.v1.Health/Check", Class::Health),
            ("/grpc.health.v1.Health/Watch", Class::Health),
            ("/grpc.health.v1.Healthy/Check", Class::Call { creates: false }),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Class::Reflection),
            ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Class::Reflection),
            (
                "/flyteidl2.connector.AsyncConnectorService/CreateTask",
                Class::Call { creates: true },
            ),
            ("/flyteidl2.connector.AsyncConnectorService/GetTask", Class::Call { creates: false }),
            ("/", Class::Call { creates: false }),
            ("*", Class::Call { creates: false }),
        ] {
            assert_eq!(Class::of(path), class, "{path}");
        }
    }
}
