//! A workspace whose connections can be paused, to test calls in flight.

use std::{net::Ipv4Addr, sync::Arc};

use databricks_emulator::Emulator;
use flyteidl2::connector::CreateTaskRequest;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};

use crate::{fixtures::create_request_for, process::ServerProcess};

/// An emulator behind a proxy that holds all connections until the first permit of `resume`.
pub struct PausedWorkspace {
    pub emulator: Emulator,
    pub host: String,
    /// Gets a permit for each connection.
    pub connected: Arc<Semaphore>,
    pub resume: Arc<Semaphore>,
}

impl PausedWorkspace {
    pub async fn start() -> Self {
        let emulator = Emulator::builder().token("dapi-DATABRICKS_TOKEN").start().await.unwrap();
        let upstream = emulator.http_url().replace("http://", "");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let host = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let (connected, resume) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (accepted, resumed) = (Arc::clone(&connected), Arc::clone(&resume));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                accepted.add_permits(1);
                let (resumed, upstream) = (Arc::clone(&resumed), upstream.clone());
                tokio::spawn(async move {
                    // Returns the permit, so that it resumes all connections.
                    drop(resumed.acquire().await.unwrap());
                    let mut server = TcpStream::connect(upstream).await.unwrap();
                    drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
                });
            }
        });
        Self { emulator, host, connected, resume }
    }

    /// Returns a request for this workspace.
    pub fn request(&self) -> CreateTaskRequest {
        create_request_for("01_new_cluster", &self.host)
    }

    /// Starts a server and a CreateTask call that waits for the workspace.
    pub async fn start_create(&self) -> (ServerProcess, JoinHandle<bool>) {
        let process = ServerProcess::start_for_local_workspaces("");
        let mut tasks = process.tasks().await;
        let request = self.request();
        let call = tokio::spawn(async move { tasks.create_task(request).await.is_ok() });
        self.connected.acquire().await.unwrap().forget();
        (process, call)
    }
}
