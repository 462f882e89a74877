//! The binary with a real Kubernetes API server: reads Secrets of task namespaces under the documented Role, and exchanges a
//! service account token for a workspace token. `cargo xtask nightly --only kubernetes` runs it.

mod cluster;

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use databricks_emulator::Emulator;
use flyteidl2::{
    connector::{
        DeleteTaskRequest, GetTaskRequest, Resource,
        async_connector_service_client::AsyncConnectorServiceClient,
    },
    core::task_execution::Phase,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tonic::{Code, Status, transport::Channel};

use self::cluster::Cluster;
use crate::{
    eventually::{eventually, until},
    fixtures::create_request_for,
    process::free_port,
    workspace::task_category,
};

const SECRET: &str = "databricks-token";

/// Part of every secret; it must not occur in the log.
const CANARY: &str = "canary";

/// The binary, logging at trace level into a file. Dropping it kills the process.
struct Server {
    child: Child,
    log: PathBuf,
    tasks: AsyncConnectorServiceClient<Channel>,
    workspace: String,
    created: u32,
}

impl Server {
    async fn start(folder: &Path, workspace: String, variables: &[(&str, &str)]) -> Self {
        let log = folder.join("server.log");
        let port = free_port();
        let child = Command::new(env!("CARGO_BIN_EXE_connector-server"))
            .args(["--host=127.0.0.1", "--prometheus-port=0", &format!("--port={port}")])
            .env_clear()
            .envs(variables.iter().copied())
            .env("RUST_LOG", "trace")
            .stdin(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let channel = eventually("the server listens", async || {
            tonic::transport::Endpoint::new(format!("http://127.0.0.1:{port}"))
                .unwrap()
                .connect()
                .await
                .ok()
        })
        .await;
        Self { child, log, tasks: AsyncConnectorServiceClient::new(channel), workspace, created: 0 }
    }

    /// Creates a task without a token in `namespace`. Returns its `resource_meta`.
    async fn create(&mut self, namespace: &str) -> Result<Vec<u8>, Status> {
        let mut request = create_request_for("40_executor_first_attempt", &self.workspace);
        request.connection = None;
        namespace.clone_into(&mut request.task_execution_metadata.as_mut().unwrap().namespace);
        // A new task each time.
        self.created += 1;
        request.output_prefix = format!("{}-{}", request.output_prefix, self.created);
        let response = Box::pin(self.tasks.create_task(request)).await?;
        Ok(response.into_inner().resource_meta)
    }

    async fn get(&mut self, resource_meta: &[u8]) -> Resource {
        let request = GetTaskRequest {
            resource_meta: resource_meta.to_vec(),
            task_category: Some(task_category()),
            ..GetTaskRequest::default()
        };
        self.tasks.get_task(request).await.unwrap().into_inner().resource.unwrap()
    }

    async fn delete(&mut self, resource_meta: &[u8]) -> Result<(), Status> {
        let request = DeleteTaskRequest {
            resource_meta: resource_meta.to_vec(),
            task_category: Some(task_category()),
            ..DeleteTaskRequest::default()
        };
        self.tasks.delete_task(request).await.map(drop)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn meta(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// Creates the Role and `RoleBinding` of docs/deploy.md in a namespace.
async fn create_role(cluster: &Cluster, namespace: &str) {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/deploy.md"))
            .unwrap();
    let blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let documented = blocks.into_iter().find(|block| block.contains("kind: Role\n")).unwrap();
    let (role, binding) = documented.split_once("---\n").unwrap();
    for (object, collection) in [(role, "roles"), (binding, "rolebindings")] {
        assert!(object.contains("namespace: team-a"), "{object}");
        let object = object.replace("namespace: team-a", &format!("namespace: {namespace}"));
        let path =
            format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/{collection}");
        cluster.create(&path, &object).await;
    }
}

/// Starts a cluster where the connector may read only the Secrets of `team-a` and `team-m`.
async fn start_cluster() -> Cluster {
    let cluster = Cluster::start().await;
    for namespace in ["flyte", "team-a", "team-b", "team-c", "team-m"] {
        cluster.create_namespace(namespace).await;
    }
    cluster.create_service_account("flyte", "flyteconnector").await;
    for namespace in ["team-a", "team-b", "team-c"] {
        let token = format!("dapi-{CANARY}-{namespace}");
        cluster.put_secret(namespace, SECRET, json!({"token": token})).await;
    }
    cluster.put_secret("team-a", "other", json!({"token": "x"})).await;
    let principal = json!({"client_id": "principal", "client_secret": format!("{CANARY}-m")});
    cluster.put_secret("team-m", SECRET, principal).await;
    for namespace in ["team-a", "team-m"] {
        create_role(&cluster, namespace).await;
    }
    cluster
}

/// Asserts that the Role grants `get` of the two Secrets by name, and nothing else.
async fn assert_permissions(cluster: &Cluster, identity: &str) {
    let secrets = |namespace: &str| format!("/api/v1/namespaces/{namespace}/secrets");
    for (path, expected) in [
        (format!("{}/{SECRET}", secrets("team-a")), StatusCode::OK),
        (format!("{}/{SECRET}", secrets("team-m")), StatusCode::OK),
        (format!("{}/other", secrets("team-a")), StatusCode::FORBIDDEN),
        (secrets("team-a"), StatusCode::FORBIDDEN),
        (format!("{}/{SECRET}", secrets("team-b")), StatusCode::FORBIDDEN),
        ("/api/v1/secrets".to_owned(), StatusCode::FORBIDDEN),
    ] {
        assert_eq!(cluster.status_for(identity, &path).await, expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server; run `cargo xtask nightly --only kubernetes`"]
async fn namespace_secrets_are_read_under_the_documented_role() {
    let mut cluster = start_cluster().await;
    let identity = cluster.token("flyte", "flyteconnector", None).await;

    assert_permissions(&cluster, &identity).await;

    let emulator = Emulator::builder()
        .token(format!("dapi-{CANARY}-team-a"))
        .service_principal("principal", format!("{CANARY}-m"))
        .trust_issuer(cluster.jwks().await, Some("databricks".to_owned()))
        .start()
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let subject = folder.path().join("token");
    let workspaces = folder.path().join("workspaces.toml");
    let text = format!(
        "default = \"prod\"\n[workspace.prod]\nhost = \"{}\"\n\
         auth = {{ type = \"file-oidc\", client_id = \"principal\", token_file = \"{}\" }}\n",
        emulator.http_url(),
        subject.display()
    );
    std::fs::write(&workspaces, text).unwrap();
    let kubeconfig = cluster.kubeconfig(&identity);
    let mut server = Server::start(
        folder.path(),
        emulator.http_url(),
        &[
            ("FLYTE_DATABRICKS_SECRET_NAMESPACES", "team-a,team-c,team-m"),
            ("FLYTE_DATABRICKS_WORKSPACES", workspaces.to_str().unwrap()),
            ("KUBECONFIG", kubeconfig.to_str().unwrap()),
        ],
    )
    .await;

    // A token from one Secret, a service principal from the other.
    let of_a = server.create("team-a").await.unwrap();
    let names = |namespace: &str| json!({"secret": {"namespace": namespace, "name": SECRET}});
    assert_eq!(meta(&of_a)["credential"], names("team-a"));
    let is_read = |resource: &Resource| !resource.message.contains("the run could not be read");
    let resource = server.get(&of_a).await;
    assert!(is_read(&resource), "{}", resource.message);
    let of_m = server.create("team-m").await.unwrap();
    assert_eq!(meta(&of_m)["credential"], names("team-m"));
    assert_eq!(emulator.tokens_minted(), 1);

    // An unlisted namespace uses the connector's own credential: a service account token that the API server signed
    // for the audience of Databricks. A token for another audience is rejected.
    std::fs::write(&subject, cluster.token("flyte", "flyteconnector", Some("vault")).await)
        .unwrap();
    let status = server.create("team-b").await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    let federated = cluster.token("flyte", "flyteconnector", Some("databricks")).await;
    std::fs::write(&subject, &federated).unwrap();
    let of_b = server.create("team-b").await.unwrap();
    assert!(meta(&of_b).get("credential").is_none(), "{}", meta(&of_b));
    assert_eq!(emulator.tokens_minted(), 2);

    // A listed namespace without the Role.
    let status = server.create("team-c").await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(status.message().contains("denied access (403)"), "{status:?}");
    let mut of_c = meta(&of_a);
    of_c["credential"] = names("team-c");
    let resource = server.get(of_c.to_string().as_bytes()).await;
    assert_ne!(resource.phase(), Phase::Failed);
    assert!(resource.message.contains("denied access (403)"), "{}", resource.message);

    // A changed Secret is noticed, twice.
    cluster.put_secret("team-a", SECRET, json!({"token": format!("dapi-{CANARY}-wrong")})).await;
    until("the changed Secret is used and rejected", async || {
        let resource = server.get(&of_a).await;
        assert_ne!(resource.phase(), Phase::Failed);
        !is_read(&resource)
    })
    .await;
    cluster.put_secret("team-a", SECRET, json!({"token": format!("dapi-{CANARY}-team-a")})).await;
    until("the restored Secret is used", async || is_read(&server.get(&of_a).await)).await;

    // The API server is down.
    cluster.stop_api();
    let resource = eventually("the Secret cannot be read", async || {
        let resource = server.get(&of_a).await;
        (!is_read(&resource)).then_some(resource)
    })
    .await;
    assert_ne!(resource.phase(), Phase::Failed);
    let words = "the Secret databricks-token of namespace team-a could not be read: the API server does not respond";
    assert!(resource.message.contains(words), "{}", resource.message);
    let status = server.create("team-a").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    server.delete(&of_a).await.unwrap();
    cluster.start_api().await;
    until("the Secret is read again", async || is_read(&server.get(&of_m).await)).await;
    server.create("team-a").await.unwrap();

    let log = server.log();
    assert!(log.contains("the Secret databricks-token of namespace team-a"));
    for secret in [CANARY, &identity, &federated] {
        assert!(!log.contains(secret), "the log contains a secret");
    }
}
