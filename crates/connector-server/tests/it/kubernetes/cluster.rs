//! A Kubernetes API server with etcd, on free ports of the loopback interface. Without a kubelet, no pod runs.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rcgen::KeyPair;
use reqwest::{Client, Method, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    authority::{Authority, Files},
    eventually::until,
    process::free_port,
};

/// The token of a member of `system:masters`.
const ADMIN: &str = "admin-of-the-test";

pub struct Cluster {
    folder: TempDir,
    certificates: Files,
    port: u16,
    etcd_port: u16,
    admin: Client,
    /// `None` while stopped. Declared before etcd, so that it is dropped first.
    api: Option<Program>,
    _etcd: Program,
}

/// A child process. Dropping it kills the process.
struct Program(Child);

impl Program {
    fn start(program: &str, log: &Path, flags: &[String]) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let child = Command::new(program)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        Self(child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[expect(clippy::disallowed_methods, reason = "xtask passes the paths of the programs")]
fn program(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run `cargo xtask nightly --only kubernetes`")
    })
}

impl Cluster {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let certificates = Files::new(&authority.identity(&["127.0.0.1"]), Some(&authority));
        let key = KeyPair::generate().unwrap();
        std::fs::write(folder.path().join("sa.key"), key.serialize_pem()).unwrap();
        std::fs::write(folder.path().join("sa.pub"), key.public_key_pem()).unwrap();
        std::fs::write(
            folder.path().join("tokens.csv"),
            format!("{ADMIN},admin,1,\"system:masters\"\n"),
        )
        .unwrap();
        let (etcd_port, peer_port) = (free_port(), free_port());
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let etcd = Program::start(
            &program("FLYTE_TEST_ETCD"),
            &folder.path().join("etcd.log"),
            &[
                format!("--data-dir={}", folder.path().join("etcd").display()),
                format!("--listen-client-urls={}", url(etcd_port)),
                format!("--advertise-client-urls={}", url(etcd_port)),
                format!("--listen-peer-urls={}", url(peer_port)),
                format!("--initial-advertise-peer-urls={}", url(peer_port)),
                format!("--initial-cluster=default={}", url(peer_port)),
                "--unsafe-no-fsync".to_owned(),
            ],
        );
        let root = std::fs::read(certificates.path("ca.crt")).unwrap();
        let admin = Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&root).unwrap()])
            .no_proxy()
            .build()
            .unwrap();
        let port = free_port();
        let mut cluster =
            Self { folder, certificates, port, etcd_port, admin, api: None, _etcd: etcd };
        cluster.start_api().await;
        cluster
    }

    /// Starts the API server, always on the same port.
    pub async fn start_api(&mut self) {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let certificate = |name: &str| self.certificates.path(name).display().to_string();
        self.api = Some(Program::start(
            &program("FLYTE_TEST_KUBE_APISERVER"),
            &self.folder.path().join("kube-apiserver.log"),
            &[
                format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
                format!("--cert-dir={}", file("certificates")),
                format!("--tls-cert-file={}", certificate("tls.crt")),
                format!("--tls-private-key-file={}", certificate("tls.key")),
                format!("--secure-port={}", self.port),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--service-account-key-file={}", file("sa.pub")),
                format!("--service-account-signing-key-file={}", file("sa.key")),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                "--authorization-mode=RBAC".to_owned(),
                format!("--token-auth-file={}", file("tokens.csv")),
                "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
                "--disable-admission-plugins=ServiceAccount".to_owned(),
            ],
        ));
        until("the API server is ready", async || {
            let response = self.admin.get(self.url("/readyz")).bearer_auth(ADMIN).send().await;
            response.is_ok_and(|response| response.status().is_success())
        })
        .await;
    }

    pub fn stop_api(&mut self) {
        self.api = None;
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    async fn call(&self, method: Method, path: &str, kind: &str, body: String) -> Value {
        let request = self.admin.request(method, self.url(path)).bearer_auth(ADMIN);
        let response = request.header(CONTENT_TYPE, kind).body(body).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Posts an object in YAML to the collection at `path`.
    pub async fn create(&self, path: &str, yaml: &str) {
        self.call(Method::POST, path, "application/yaml", yaml.to_owned()).await;
    }

    pub async fn create_namespace(&self, name: &str) {
        let yaml = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
        self.create("/api/v1/namespaces", &yaml).await;
    }

    pub async fn create_service_account(&self, namespace: &str, name: &str) {
        let yaml = format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}}}\n");
        self.create(&format!("/api/v1/namespaces/{namespace}/serviceaccounts"), &yaml).await;
    }

    /// Creates or changes a Secret.
    pub async fn put_secret(&self, namespace: &str, name: &str, keys: Value) {
        let body = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys,
        });
        let path =
            format!("/api/v1/namespaces/{namespace}/secrets/{name}?fieldManager=test&force=true");
        self.call(Method::PATCH, &path, "application/apply-patch+yaml", body.to_string()).await;
    }

    /// Returns a service account token that the API server signed, for itself or for `audience`.
    pub async fn token(&self, namespace: &str, account: &str, audience: Option<&str>) -> String {
        let audiences: Vec<&str> = audience.into_iter().collect();
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": audiences, "expirationSeconds": 3600},
        });
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let response = self.call(Method::POST, &path, "application/json", body.to_string()).await;
        response["status"]["token"].as_str().unwrap().to_owned()
    }

    /// Returns the public keys of service account tokens.
    pub async fn jwks(&self) -> String {
        let request = self.admin.get(self.url("/openid/v1/jwks")).bearer_auth(ADMIN);
        request.send().await.unwrap().error_for_status().unwrap().text().await.unwrap()
    }

    /// Returns the HTTP status of a GET with `token`.
    pub async fn status_for(&self, token: &str, path: &str) -> StatusCode {
        self.admin.get(self.url(path)).bearer_auth(token).send().await.unwrap().status()
    }

    /// Writes a kubeconfig with `token`. Returns its path.
    pub fn kubeconfig(&self, token: &str) -> PathBuf {
        let path = self.folder.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": self.url(""), "certificate-authority": self.certificates.path("ca.crt"),
            }}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }
}
