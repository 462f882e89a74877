//! `HTTPS_PROXY` and `NO_PROXY`, in child processes.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread::{self, JoinHandle},
};

use databricks_client::{ErrorKind, RunId};

use crate::{
    child_process,
    fixture::{builder, client_of, once},
};

/// Stops a [`Recorder`].
const STOP: &[u8] = b"STOP";

/// Records the first bytes of each connection and responds with 502.
struct Recorder {
    address: SocketAddr,
    thread: JoinHandle<Vec<Vec<u8>>>,
}

impl Recorder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let mut heads = Vec::new();
            loop {
                let (mut connection, _) = listener.accept().unwrap();
                let mut head = vec![0; 4096];
                let length = connection.read(&mut head).unwrap_or_default();
                head.truncate(length);
                if head == STOP {
                    return heads;
                }
                heads.push(head);
                let _outcome =
                    connection.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n");
            }
        });
        Self { address, thread }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops the server and returns the first bytes of each connection.
    fn heads(self) -> Vec<Vec<u8>> {
        TcpStream::connect(self.address).unwrap().write_all(STOP).unwrap();
        self.thread.join().unwrap()
    }
}

/// Calls the server once and expects an error.
async fn call(server: &str) {
    let client = client_of(builder().retry(once()), server);
    let error = client.get_run(RunId::try_from(7).unwrap()).await.unwrap_err();
    let is_http = server.starts_with("http://");
    let kind = if is_http { ErrorKind::Unavailable } else { ErrorKind::Connect };
    assert_eq!(error.kind(), kind, "{error}");
}

#[tokio::test]
async fn workspace_is_called_through_the_proxy_of_the_environment() {
    if let Some(server) = child_process::server() {
        return call(&server).await;
    }
    let proxy = Recorder::start();
    child_process::run(
        "proxy::workspace_is_called_through_the_proxy_of_the_environment",
        "dbc-1.cloud.databricks.com",
        &[("HTTPS_PROXY", &proxy.url())],
    );
    let heads = proxy.heads();
    let head = String::from_utf8_lossy(heads.first().unwrap());
    assert!(head.starts_with("CONNECT dbc-1.cloud.databricks.com:443 HTTP/1.1\r\n"), "{head}");
    assert!(
        !head.to_lowercase().contains("\nauthorization:"),
        "the proxy receives no token: {head}"
    );
    assert_eq!(heads.len(), 1);
}

#[tokio::test]
async fn host_in_no_proxy_is_called_directly() {
    if let Some(server) = child_process::server() {
        return call(&server).await;
    }
    let (proxy, workspace) = (Recorder::start(), Recorder::start());
    // An address of this machine outside the loopback network, for which no proxy is used.
    child_process::run(
        "proxy::host_in_no_proxy_is_called_directly",
        &format!("0.0.0.0:{}", workspace.address.port()),
        &[("HTTPS_PROXY", &proxy.url()), ("NO_PROXY", "example.com,0.0.0.0")],
    );
    assert_eq!(proxy.heads().len(), 0);
    // The first byte of a TLS ClientHello.
    assert_eq!(workspace.heads().first().and_then(|head| head.first()), Some(&0x16));
}

#[tokio::test]
async fn loopback_is_never_called_through_a_proxy() {
    if let Some(server) = child_process::server() {
        return call(&server).await;
    }
    let (proxy, workspace) = (Recorder::start(), Recorder::start());
    child_process::run(
        "proxy::loopback_is_never_called_through_a_proxy",
        &workspace.url(),
        &[("HTTPS_PROXY", &proxy.url()), ("HTTP_PROXY", &proxy.url()), ("ALL_PROXY", &proxy.url())],
    );
    assert_eq!(proxy.heads().len(), 0);
    let heads = workspace.heads();
    assert!(heads.first().unwrap().starts_with(b"GET /api/2.2/jobs/runs/get?run_id=7 "));
}
