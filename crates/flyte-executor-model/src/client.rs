//! One call of the connector, with its deadline, its wait for a connection and its retries, as grpc-go makes it.

use crate::balancer::{Balancer, Connection};
use crate::report::Fault;
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

/// No deadline is this one.
const FOR_EVER: Duration = Duration::from_hours(24 * 365);

/// A client of all replicas.
#[derive(Debug, Clone)]
pub struct Client {
    balancer: Arc<Balancer>,
    config: ServiceConfig,
}

/// How one try of a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The replica answered, with this code.
    Answered(Code),
    /// The connection broke under it: the replica may have done the work.
    Broken,
    /// The connection closed before the call went out; another try cost nothing.
    Unsent,
    /// The caller's deadline came first.
    TimedOut,
}

/// One try of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Try {
    /// The replica.
    pub replica: SocketAddr,
    /// How it ended.
    pub ended: Ended,
}

/// A call that is over.
#[derive(Debug, Clone)]
pub struct Called<T> {
    /// The answer, as the executor sees it.
    pub answer: Result<T, Fault>,
    /// The tries it took.
    pub tries: Vec<Try>,
}

/// The three calls that the executor makes of a task.
trait Rpc: Clone + Send + Sync {
    type Answer: Send;
    fn send(
        self,
        connection: AsyncConnectorServiceClient<Wire>,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<Response<Self::Answer>, Status>>;
}

macro_rules! rpc {
    ($request:ty, $answer:ty, $method:ident) => {
        impl Rpc for $request {
            type Answer = $answer;
            fn send(
                self,
                mut connection: AsyncConnectorServiceClient<Wire>,
                timeout: Option<Duration>,
            ) -> BoxFuture<'static, Result<Response<$answer>, Status>> {
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
    /// A client with that service config.
    pub fn new(balancer: Arc<Balancer>, config: ServiceConfig) -> Self {
        Self { balancer, config }
    }

    /// Calls `CreateTask`.
    pub async fn create(
        &self,
        request: CreateTaskRequest,
        deadline: Option<Duration>,
    ) -> Called<CreateTaskResponse> {
        self.call(request, deadline).await
    }

    /// Calls `GetTask`.
    pub async fn get(
        &self,
        request: GetTaskRequest,
        deadline: Option<Duration>,
    ) -> Called<GetTaskResponse> {
        self.call(request, deadline).await
    }

    /// Calls `DeleteTask`.
    pub async fn delete(
        &self,
        request: DeleteTaskRequest,
        deadline: Option<Duration>,
    ) -> Called<DeleteTaskResponse> {
        self.call(request, deadline).await
    }

    async fn call<R: Rpc>(&self, request: R, deadline: Option<Duration>) -> Called<R::Answer> {
        let mut tries = Vec::new();
        let until = Instant::now() + deadline.unwrap_or(FOR_EVER);
        let left = deadline.map(|_| until);
        let answer = match timeout_at(until, self.attempts(&request, left, &mut tries)).await {
            Ok(answer) => answer.map_err(|status| fault(&status)),
            Err(_elapsed) => {
                let message = "context deadline exceeded".to_owned();
                Err(Fault { code: "DeadlineExceeded".to_owned(), message })
            }
        };
        Called { answer, tries }
    }

    async fn attempts<R: Rpc>(
        &self,
        request: &R,
        until: Option<Instant>,
        tries: &mut Vec<Try>,
    ) -> Result<R::Answer, Status> {
        let mut retries = Retries::default();
        loop {
            let failure = match self.attempt(request, until, tries).await {
                Ok(answer) => return Ok(answer),
                // A transparent retry: it is not counted.
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

    /// One try. `Err(None)` is one that never left.
    async fn attempt<R: Rpc>(
        &self,
        request: &R,
        until: Option<Instant>,
        tries: &mut Vec<Try>,
    ) -> Result<R::Answer, Option<Status>> {
        let connection = self
            .balancer
            .pick(self.config.wait_for_ready)
            .await
            .map_err(|fault| Some(Status::unavailable(fault)))?;
        let place = tries.len();
        // What it stays when the deadline drops us here.
        tries.push(Try { replica: connection.address, ended: Ended::TimedOut });
        let mut end = |ended| {
            if let Some(entry) = tries.get_mut(place) {
                entry.ended = ended;
            }
        };
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        match request.clone().send(Wire::client(connection), timeout).await {
            Ok(response) => {
                end(Ended::Answered(Code::Ok));
                Ok(response.into_inner())
            }
            Err(status) => match broken(&status) {
                None => {
                    end(Ended::Answered(status.code()));
                    Err(Some(status))
                }
                Some(true) => {
                    end(Ended::Unsent);
                    // The keeper of the connection has to hear of it first.
                    tokio::task::yield_now().await;
                    Err(None)
                }
                Some(false) => {
                    end(Ended::Broken);
                    Err(Some(Status::unavailable(format!("error reading from server: {status}"))))
                }
            },
        }
    }
}

/// For a status that the client made of a broken connection: whether the call never left. `None` for one that the
/// server sent.
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

/// As grpc-go words it.
fn fault(status: &Status) -> Fault {
    let code = match status.code() {
        Code::Ok => "OK".to_owned(),
        Code::Cancelled => "Canceled".to_owned(),
        other => format!("{other:?}"),
    };
    Fault { code, message: status.message().to_owned() }
}

/// One connection as tonic's stubs take it.
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
