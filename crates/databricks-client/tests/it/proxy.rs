//! `HTTPS_PROXY` and `NO_PROXY`, in processes of their own.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread::{self, JoinHandle},
};

use databricks_client::{ErrorKind, RunId};

use crate::{
    child,
    workspace::{builder, client_of, once},
};

/// Ends a [`Recorder`].
const STOP: &[u8] = b"STOP";

/// Keeps the first bytes of every connection and answers each with a 502.
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

    /// The first bytes of every connection so far.
    fn heads(self) -> Vec<Vec<u8>> {
        TcpStream::connect(self.address).unwrap().write_all(STOP).unwrap();
        self.thread.join().unwrap()
    }
}

/// Calls the server once; what is on the other side of the wire knows no more than to refuse.
async fn call(server: &str) {
    let client = client_of(builder().retry(once()), server);
    let error = client.get_run(RunId::try_from(7).unwrap()).await.unwrap_err();
    let is_answer = server.starts_with("http://");
    let kind = if is_answer { ErrorKind::Unavailable } else { ErrorKind::Connect };
    assert_eq!(error.kind(), kind, "{error}");
}

#[tokio::test]
async fn a_workspace_is_called_through_the_proxy_of_the_environment() {
    if let Some(server) = child::server() {
        return call(&server).await;
    }
    let proxy = Recorder::start();
    child::run(
        "proxy::a_workspace_is_called_through_the_proxy_of_the_environment",
        "dbc-1.cloud.databricks.com",
        &[("HTTPS_PROXY", &proxy.url())],
    );
    let heads = proxy.heads();
    let head = String::from_utf8_lossy(heads.first().unwrap());
    assert!(head.starts_with("CONNECT dbc-1.cloud.databricks.com:443 HTTP/1.1\r\n"), "{head}");
    assert!(!head.to_lowercase().contains("\nauthorization:"), "the proxy gets no token: {head}");
    assert_eq!(heads.len(), 1);
}

#[tokio::test]
async fn a_host_that_needs_no_proxy_is_called_directly() {
    if let Some(server) = child::server() {
        return call(&server).await;
    }
    let (proxy, workspace) = (Recorder::start(), Recorder::start());
    // An address of this machine that is not of its loopback network, which no proxy is ever used for.
    child::run(
        "proxy::a_host_that_needs_no_proxy_is_called_directly",
        &format!("0.0.0.0:{}", workspace.address.port()),
        &[("HTTPS_PROXY", &proxy.url()), ("NO_PROXY", "example.com,0.0.0.0")],
    );
    assert_eq!(proxy.heads().len(), 0);
    // The first byte of TLS's greeting.
    assert_eq!(workspace.heads().first().and_then(|head| head.first()), Some(&0x16));
}

#[tokio::test]
async fn this_machine_is_never_called_through_a_proxy() {
    if let Some(server) = child::server() {
        return call(&server).await;
    }
    let (proxy, workspace) = (Recorder::start(), Recorder::start());
    child::run(
        "proxy::this_machine_is_never_called_through_a_proxy",
        &workspace.url(),
        &[("HTTPS_PROXY", &proxy.url()), ("HTTP_PROXY", &proxy.url()), ("ALL_PROXY", &proxy.url())],
    );
    assert_eq!(proxy.heads().len(), 0);
    let heads = workspace.heads();
    assert!(heads.first().unwrap().starts_with(b"GET /api/2.2/jobs/runs/get?run_id=7 "));
}
