//! A gRPC server with scripted responses.

use flyteidl2::connector::async_connector_service_server::{
    AsyncConnectorService, AsyncConnectorServiceServer,
};
use flyteidl2::connector::{
    CreateTaskRequest, CreateTaskResponse, DeleteTaskRequest, DeleteTaskResponse,
    GetTaskLogsRequest, GetTaskLogsResponse, GetTaskMetricsRequest, GetTaskMetricsResponse,
    GetTaskRequest, GetTaskResponse, Resource,
};
use flyteidl2::core::task_execution::Phase;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tonic::transport::{Server, server::TcpIncoming};
use tonic::{Request, Response, Status};

/// What the next create does. By default it succeeds.
#[derive(Debug, Clone)]
pub enum Does {
    Answers(Status),
    Hangs,
}

#[derive(Debug, Default)]
struct Script {
    creates: Mutex<Vec<Does>>,
    /// The phases returned to polls. The last one is repeated.
    phases: Mutex<Vec<Phase>>,
    seen: Mutex<Vec<String>>,
    came: Notify,
}

/// A replica. Dropping it breaks its connections.
pub struct Served {
    pub address: SocketAddr,
    script: Arc<Script>,
    serving: JoinHandle<()>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
        // Connections are separate tasks. Dropping their runtime closes them, as killing a process does.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Served {
    pub async fn start(creates: Vec<Does>, phases: Vec<Phase>) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), creates, phases).await
    }

    pub async fn start_at(address: SocketAddr, creates: Vec<Does>, phases: Vec<Phase>) -> Self {
        let script = Arc::new(Script {
            creates: Mutex::new(creates),
            phases: Mutex::new(phases),
            ..Script::default()
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let service = AsyncConnectorServiceServer::new(Replica(Arc::clone(&script)));
        let (tell, told) = tokio::sync::oneshot::channel();
        let serving = runtime.spawn(async move {
            let listener = TcpListener::bind(address).await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let incoming = TcpIncoming::from(listener);
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        let address = told.await.unwrap();
        Self { address, script, serving, runtime: Some(runtime) }
    }

    pub fn seen(&self) -> Vec<String> {
        self.script.seen.lock().unwrap().clone()
    }

    /// Waits for a call.
    pub async fn came(&self) {
        self.script.came.notified().await;
    }
}

struct Replica(Arc<Script>);

impl Replica {
    fn note(&self, what: &str) {
        self.0.seen.lock().unwrap().push(what.to_owned());
        self.0.came.notify_one();
    }
}

#[tonic::async_trait]
impl AsyncConnectorService for Replica {
    async fn create_task(
        &self,
        _request: Request<CreateTaskRequest>,
    ) -> Result<Response<CreateTaskResponse>, Status> {
        self.note("create");
        let next = {
            let mut creates = self.0.creates.lock().unwrap();
            if creates.is_empty() { None } else { Some(creates.remove(0)) }
        };
        match next {
            None => Ok(Response::new(CreateTaskResponse { resource_meta: b"meta".to_vec() })),
            Some(Does::Answers(status)) => Err(status),
            Some(Does::Hangs) => std::future::pending().await,
        }
    }

    async fn get_task(
        &self,
        _request: Request<GetTaskRequest>,
    ) -> Result<Response<GetTaskResponse>, Status> {
        self.note("get");
        let mut phases = self.0.phases.lock().unwrap();
        let phase = if phases.len() > 1 { phases.remove(0) } else { phases[0] };
        let resource = Resource { phase: phase.into(), ..Resource::default() };
        Ok(Response::new(GetTaskResponse { resource: Some(resource) }))
    }

    async fn delete_task(
        &self,
        _request: Request<DeleteTaskRequest>,
    ) -> Result<Response<DeleteTaskResponse>, Status> {
        self.note("delete");
        Ok(Response::new(DeleteTaskResponse {}))
    }

    async fn get_task_metrics(
        &self,
        _request: Request<GetTaskMetricsRequest>,
    ) -> Result<Response<GetTaskMetricsResponse>, Status> {
        Err(Status::unimplemented("the executor never asks"))
    }

    type GetTaskLogsStream = futures_util::stream::Empty<Result<GetTaskLogsResponse, Status>>;

    async fn get_task_logs(
        &self,
        _request: Request<GetTaskLogsRequest>,
    ) -> Result<Response<Self::GetTaskLogsStream>, Status> {
        Err(Status::unimplemented("the executor never asks"))
    }
}
