//! A replica of the server that keeps its ports across restarts.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tonic::transport::{Channel, Endpoint};

use crate::{eventually::until, process::free_port};

pub struct Replica {
    child: Child,
    log: PathBuf,
    variables: Vec<(String, String)>,
    grpc: u16,
    http: u16,
}

impl Drop for Replica {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Replica {
    /// Starts a replica and waits until it is ready.
    pub async fn start(folder: &Path, name: &str, variables: &[(&str, String)]) -> Self {
        let log = folder.join(format!("{name}.log"));
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let variables: Vec<(String, String)> = variables.collect();
        let (grpc, http) = (free_port(), free_port());
        let child = serve(&log, &variables, grpc, http);
        let replica = Self { child, log, variables, grpc, http };
        replica.wait_until_ready().await;
        replica
    }

    async fn wait_until_ready(&self) {
        let url = format!("http://{}/readyz", self.metrics_address());
        until("the replica is ready", async || {
            reqwest::get(&url).await.is_ok_and(|response| response.status().is_success())
        })
        .await;
    }

    pub fn metrics_address(&self) -> String {
        format!("127.0.0.1:{}", self.http)
    }

    pub fn channel(&self) -> Channel {
        Endpoint::new(format!("http://127.0.0.1:{}", self.grpc)).unwrap().connect_lazy()
    }

    pub async fn metrics(&self) -> String {
        let response =
            reqwest::get(format!("http://{}/metrics", self.metrics_address())).await.unwrap();
        response.text().await.unwrap()
    }

    /// Stops the replica with SIGTERM, as Kubernetes does.
    pub async fn stop(&mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        until("the replica exits", async || self.child.try_wait().unwrap().is_some()).await;
    }

    pub async fn restart(&mut self) {
        self.stop().await;
        self.child = serve(&self.log, &self.variables, self.grpc, self.http);
        self.wait_until_ready().await;
    }
}

fn serve(log: &Path, variables: &[(String, String)], grpc: u16, http: u16) -> Child {
    let log = File::options().create(true).append(true).open(log).unwrap();
    Command::new(env!("CARGO_BIN_EXE_connector-server"))
        .args(["--host=127.0.0.1", "--plaintext", "--writes-per-second=2"])
        .args([format!("--port={grpc}"), format!("--prometheus-port={http}")])
        .env_clear()
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}
