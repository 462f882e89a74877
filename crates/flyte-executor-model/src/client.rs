//! Calls the connector with deadline, wait-for-ready and retries, as grpc-go does.

use crate::balancer::{Balancer, Connection};
use crate::report::CallFailure;
use crate::service_config::{Retries, ServiceConfig};
use flyteidl2::connector::async_connector_service_client::AsyncConnectorServiceClient;
use flyteidl2::connector::{
    CreateTaskRequest, CreateTaskResponse, DeleteTaskRequest, DeleteTaskResponse, GetTaskRequest,
    GetTaskResponse,
};
use futures_util::future::BoxFuture;
use http::Uri;
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::body::Body;
use tonic::{Code, Request, Response, Status};
use tower::Service;

/// Replaces a missing deadline.
const FOR_EVER: Duration = Duration::from_hours(24 * 365);

/// A client that spreads calls over all replicas.
#[derive(Debug, Clone)]
pub struct Client {
    balancer: Arc<Balancer>,
    config: ServiceConfig,
}

/// The outcome of one try of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TryOutcome {
    /// The replica responded with this code.
    Responded(Code),
    /// The connection broke during the call. The replica may have executed it.
    Broken,
    /// The connection closed before the call was sent, so that it is retried transparently.
    Unsent,
    /// The deadline expired.
    TimedOut,
}

/// One try of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Try {
    /// The replica.
    pub replica: SocketAddr,
    /// Its outcome.
    pub outcome: TryOutcome,
}

/// The result of a call.
#[derive(Debug, Clone)]
pub struct CallResult<T> {
    /// The response or error that the executor sees.
    pub response: Result<T, CallFailure>,
    /// All tries.
    pub tries: Vec<Try>,
}

/// A request of the executor.
trait Rpc: Clone + Send + Sync {
    type Response: Send;
    fn send(
        self,
        connection: AsyncConnectorServiceClient<Wire>,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<Response<Self::Response>, Status>>;
}

macro_rules! rpc {
    ($request:ty, $response:ty, $method:ident) => {
        impl Rpc for $request {
            type Response = $response;
            fn send(
                self,
                mut connection: AsyncConnectorServiceClient<Wire>,
                timeout: Option<Duration>,
            ) -> BoxFuture<'static, Result<Response<$response>, Status>> {
                let mut request = Request::new(self);
                if let Some(timeout) = timeout {
                    request.set_timeout(timeout);
                }
                Box::pin(async move { connection.$method(request).await })
            }
        }
    };
}

rpc!(CreateTaskRequest, CreateTaskResponse, create_task);
rpc!(GetTaskRequest, GetTaskResponse, get_task);
rpc!(DeleteTaskRequest, DeleteTaskResponse, delete_task);

impl Client {
    /// Creates a client with this service config.
    pub fn new(balancer: Arc<Balancer>, config: ServiceConfig) -> Self {
        Self { balancer, config }
    }

    /// Calls `CreateTask`.
    pub async fn create(
        &self,
        request: CreateTaskRequest,
        deadline: Option<Duration>,
    ) -> CallResult<CreateTaskResponse> {
        self.call(request, deadline).await
    }

    /// Calls `GetTask`.
    pub async fn get(
        &self,
        request: GetTaskRequest,
        deadline: Option<Duration>,
    ) -> CallResult<GetTaskResponse> {
        self.call(request, deadline).await
    }

    /// Calls `DeleteTask`.
    pub async fn delete(
        &self,
        request: DeleteTaskRequest,
        deadline: Option<Duration>,
    ) -> CallResult<DeleteTaskResponse> {
        self.call(request, deadline).await
    }

    async fn call<R: Rpc>(
        &self,
        request: R,
        deadline: Option<Duration>,
    ) -> CallResult<R::Response> {
        let mut tries = Vec::new();
        let until = Instant::now() + deadline.unwrap_or(FOR_EVER);
        let left = deadline.map(|_| until);
        let response = match timeout_at(until, self.attempts(&request, left, &mut tries)).await {
            Ok(response) => response.map_err(|status| call_failure(&status)),
            Err(_elapsed) => {
                let message = "context deadline exceeded".to_owned();
                Err(CallFailure { code: "DeadlineExceeded".to_owned(), message })
            }
        };
        CallResult { response, tries }
    }

    async fn attempts<R: Rpc>(
        &self,
        request: &R,
        until: Option<Instant>,
        tries: &mut Vec<Try>,
    ) -> Result<R::Response, Status> {
        let mut retries = Retries::default();
        loop {
            let failure = match self.attempt(request, until, tries).await {
                Ok(response) => return Ok(response),
                // A transparent retry is not counted.
                Err(None) => continue,
                Err(Some(failure)) => failure,
            };
            let again = self.config.retry.as_ref();
            match again.and_then(|policy| retries.next(policy, &failure, fastrand::f64())) {
                Some(wait) => sleep(wait).await,
                None => return Err(failure),
            }
        }
    }

    /// Makes one try. `Err(None)`: the call was not sent.
    async fn attempt<R: Rpc>(
        &self,
        request: &R,
        until: Option<Instant>,
        tries: &mut Vec<Try>,
    ) -> Result<R::Response, Option<Status>> {
        let connection = self
            .balancer
            .pick(self.config.wait_for_ready)
            .await
            .map_err(|error| Some(Status::unavailable(error)))?;
        let index = tries.len();
        // Remains if the deadline drops this future.
        tries.push(Try { replica: connection.address, outcome: TryOutcome::TimedOut });
        let mut end = |outcome| {
            if let Some(entry) = tries.get_mut(index) {
                entry.outcome = outcome;
            }
        };
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        match request.clone().send(Wire::client(connection), timeout).await {
            Ok(response) => {
                end(TryOutcome::Responded(Code::Ok));
                Ok(response.into_inner())
            }
            Err(status) => match broken(&status) {
                None => {
                    end(TryOutcome::Responded(status.code()));
                    Err(Some(status))
                }
                Some(true) => {
                    end(TryOutcome::Unsent);
                    // Let the connection task notice the closed connection first.
                    tokio::task::yield_now().await;
                    Err(None)
                }
                Some(false) => {
                    end(TryOutcome::Broken);
                    Err(Some(Status::unavailable(format!("error reading from server: {status}"))))
                }
            },
        }
    }
}

/// Returns `None` for a status that the server sent. For a broken connection returns true if the call was not sent.
fn broken(status: &Status) -> Option<bool> {
    let mut source = std::error::Error::source(status)?;
    loop {
        if let Some(error) = source.downcast_ref::<hyper::Error>() {
            return Some(error.is_canceled());
        }
        match source.source() {
            Some(deeper) => source = deeper,
            None => return Some(false),
        }
    }
}

/// Words an error as grpc-go does.
fn call_failure(status: &Status) -> CallFailure {
    let code = match status.code() {
        Code::Ok => "OK".to_owned(),
        Code::Cancelled => "Canceled".to_owned(),
        other => format!("{other:?}"),
    };
    CallFailure { code, message: status.message().to_owned() }
}

/// Adapts a connection to tonic's generated client.
#[derive(Debug, Clone)]
struct Wire {
    connection: Connection,
}

impl Wire {
    fn client(connection: Connection) -> AsyncConnectorServiceClient<Self> {
        let authority = connection.address.to_string();
        let origin = Uri::builder().scheme("http").authority(authority).path_and_query("/").build();
        let wire = Self { connection };
        AsyncConnectorServiceClient::with_origin(wire, origin.unwrap_or_default())
    }
}

impl Service<http::Request<Body>> for Wire {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connection.sender.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.connection.sender.send_request(request))
    }
}
