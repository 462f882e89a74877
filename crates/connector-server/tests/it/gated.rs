//! A fake workspace whose answers wait.

use std::{net::Ipv4Addr, sync::Arc};

use databricks_emulator::Emulator;
use flyteidl2::connector::CreateTaskRequest;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};

use crate::{
    cli::Serving,
    databricks::{captured, pointed_at},
};

/// A fake workspace behind a gate: connections to it are held until they are let through.
pub struct Gated {
    pub emulator: Emulator,
    pub host: String,
    pub come: Arc<Semaphore>,
    pub go: Arc<Semaphore>,
}

impl Gated {
    pub async fn start() -> Self {
        let emulator = Emulator::builder().token("dapi-DATABRICKS_TOKEN").start().await.unwrap();
        let behind = emulator.http_url().replace("http://", "");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let host = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let (come, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (coming, going) = (Arc::clone(&come), Arc::clone(&go));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                coming.add_permits(1);
                let (going, behind) = (Arc::clone(&going), behind.clone());
                tokio::spawn(async move {
                    // One permit opens the gate for good.
                    drop(going.acquire().await.unwrap());
                    let mut server = TcpStream::connect(behind).await.unwrap();
                    let _until_either_ends =
                        tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { emulator, host, come, go }
    }

    /// A server that may call it.
    pub fn served(flags: &str) -> Serving {
        Serving::start(flags, &[("FLYTE_DATABRICKS_ALLOWED_HOSTS", "127.0.0.1:*")])
    }

    /// A task for it.
    pub fn request(&self) -> CreateTaskRequest {
        pointed_at(captured("01_new_cluster"), &self.host)
    }

    /// A server, and a task that it is creating.
    pub async fn creating(&self) -> (Serving, JoinHandle<bool>) {
        let serving = Self::served("");
        let mut tasks = serving.tasks().await;
        let request = self.request();
        let call = tokio::spawn(async move { tasks.create_task(request).await.is_ok() });
        self.come.acquire().await.unwrap().forget();
        (serving, call)
    }
}
