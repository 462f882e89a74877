//! The binary on ports of its own, which a restart keeps.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tonic::transport::{Channel, Endpoint};

pub struct Replica {
    child: Child,
    log: PathBuf,
    variables: Vec<(String, String)>,
    grpc: u16,
    http: u16,
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

impl Replica {
    /// Starts it and waits until it is ready.
    pub async fn start(folder: &Path, name: &str, variables: &[(&str, String)]) -> Self {
        let log = folder.join(format!("{name}.log"));
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let variables: Vec<(String, String)> = variables.collect();
        let (grpc, http) = (free_port(), free_port());
        let child = serve(&log, &variables, grpc, http);
        let replica = Self { child, log, variables, grpc, http };
        replica.ready().await;
        replica
    }

    async fn ready(&self) {
        let url = format!("http://{}/readyz", self.scraped());
        let waiting = async {
            while !reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting)
            .await
            .expect("a replica that serves");
    }

    /// Its Prometheus port.
    pub fn scraped(&self) -> String {
        format!("127.0.0.1:{}", self.http)
    }

    pub fn channel(&self) -> Channel {
        Endpoint::new(format!("http://127.0.0.1:{}", self.grpc)).unwrap().connect_lazy()
    }

    pub async fn metrics(&self) -> String {
        let answer = reqwest::get(format!("http://{}/metrics", self.scraped())).await.unwrap();
        answer.text().await.unwrap()
    }

    /// Ends it as Kubernetes does.
    pub async fn stop(&mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        while self.child.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends it, and starts another in its place.
    pub async fn replace(&mut self) {
        self.stop().await;
        self.child = serve(&self.log, &self.variables, self.grpc, self.http);
        self.ready().await;
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
