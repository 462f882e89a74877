//! The binary beside a real API server: Secrets of tasks' namespaces, read as the documented Role allows, and a token of a
//! service account that buys one of the workspace. `cargo xtask nightly --only kubernetes` runs it.

mod cluster;

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use databricks_emulator::Emulator;
use flyteidl2::{
    connector::{
        CreateTaskRequest, DeleteTaskRequest, GetTaskRequest, Resource, TaskCategory,
        async_connector_service_client::AsyncConnectorServiceClient,
    },
    core::task_execution::Phase,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tonic::{Code, Status, transport::Channel};

use self::cluster::{Cluster, eventually, free_port};
use crate::databricks::{captured, pointed_at};

const SECRET: &str = "databricks-token";

/// Nothing that is planted may be found in the log.
const CANARY: &str = "canary";

/// The binary at its most talkative, with its log in a file. It ends with this.
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

    /// A task of that namespace that brings no token. Its resource meta.
    async fn create(&mut self, namespace: &str) -> Result<Vec<u8>, Status> {
        let mut request: CreateTaskRequest =
            pointed_at(captured("40_executor_first_attempt"), &self.workspace);
        request.connection = None;
        namespace.clone_into(&mut request.task_execution_metadata.as_mut().unwrap().namespace);
        // Another task each time.
        self.created += 1;
        request.output_prefix = format!("{}-{}", request.output_prefix, self.created);
        let answer = Box::pin(self.tasks.create_task(request)).await?;
        Ok(answer.into_inner().resource_meta)
    }

    async fn get(&mut self, resource_meta: &[u8]) -> Resource {
        let request = GetTaskRequest {
            resource_meta: resource_meta.to_vec(),
            task_category: Some(category()),
            ..GetTaskRequest::default()
        };
        self.tasks.get_task(request).await.unwrap().into_inner().resource.unwrap()
    }

    async fn delete(&mut self, resource_meta: &[u8]) -> Result<(), Status> {
        let request = DeleteTaskRequest {
            resource_meta: resource_meta.to_vec(),
            task_category: Some(category()),
            ..DeleteTaskRequest::default()
        };
        self.tasks.delete_task(request).await.map(|_answer| ())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn category() -> TaskCategory {
    TaskCategory { name: "databricks".to_owned(), version: 0 }
}

fn meta(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// The Role and its binding of docs/deploy.md, for a namespace.
async fn admit(cluster: &Cluster, namespace: &str) {
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

/// A cluster where the connector may read the Secret of `team-a` and of `team-m`, and of nobody else.
async fn prepared() -> Cluster {
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
        admit(&cluster, namespace).await;
    }
    cluster
}

/// The Role lets the connector read those Secrets, by name, and nothing else.
async fn assert_reach(cluster: &Cluster, identity: &str) {
    let secrets = |namespace: &str| format!("/api/v1/namespaces/{namespace}/secrets");
    for (path, wanted) in [
        (format!("{}/{SECRET}", secrets("team-a")), StatusCode::OK),
        (format!("{}/{SECRET}", secrets("team-m")), StatusCode::OK),
        (format!("{}/other", secrets("team-a")), StatusCode::FORBIDDEN),
        (secrets("team-a"), StatusCode::FORBIDDEN),
        (format!("{}/{SECRET}", secrets("team-b")), StatusCode::FORBIDDEN),
        ("/api/v1/secrets".to_owned(), StatusCode::FORBIDDEN),
    ] {
        assert_eq!(cluster.answer_to(identity, &path).await, wanted, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it needs an API server, which `cargo xtask nightly --only kubernetes` builds"]
async fn secrets_of_namespaces_are_read_as_the_documented_role_allows() {
    let mut cluster = prepared().await;
    let identity = cluster.token("flyte", "flyteconnector", None).await;

    assert_reach(&cluster, &identity).await;

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

    // The token of a Secret, and the service principal of another.
    let of_a = server.create("team-a").await.unwrap();
    let names = |namespace: &str| json!({"secret": {"namespace": namespace, "name": SECRET}});
    assert_eq!(meta(&of_a)["credential"], names("team-a"));
    let is_read = |resource: &Resource| !resource.message.contains("no news");
    let told = server.get(&of_a).await;
    assert!(is_read(&told), "{}", told.message);
    let of_m = server.create("team-m").await.unwrap();
    assert_eq!(meta(&of_m)["credential"], names("team-m"));
    assert_eq!(emulator.tokens_minted(), 1);

    // A namespace that is not listed: the connector's own credential, a token of its service account that the API
    // server signed for Databricks. One that was signed for somebody else buys nothing.
    std::fs::write(&subject, cluster.token("flyte", "flyteconnector", Some("vault")).await)
        .unwrap();
    let refused = server.create("team-b").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    let federated = cluster.token("flyte", "flyteconnector", Some("databricks")).await;
    std::fs::write(&subject, &federated).unwrap();
    let of_b = server.create("team-b").await.unwrap();
    assert!(meta(&of_b).get("credential").is_none(), "{}", meta(&of_b));
    assert_eq!(emulator.tokens_minted(), 2);

    // A namespace that is listed, and whose Role is missing.
    let refused = server.create("team-c").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("does not let the connector (403)"), "{refused:?}");
    let mut of_c = meta(&of_a);
    of_c["credential"] = names("team-c");
    let told = server.get(of_c.to_string().as_bytes()).await;
    assert_ne!(told.phase(), Phase::Failed);
    assert!(told.message.contains("does not let the connector (403)"), "{}", told.message);

    // A change of the Secret is seen, there and back.
    cluster.put_secret("team-a", SECRET, json!({"token": format!("dapi-{CANARY}-wrong")})).await;
    eventually("the changed Secret is used, and refused", async || {
        let told = server.get(&of_a).await;
        assert_ne!(told.phase(), Phase::Failed);
        told.message.contains("no news").then_some(())
    })
    .await;
    cluster.put_secret("team-a", SECRET, json!({"token": format!("dapi-{CANARY}-team-a")})).await;
    eventually("the Secret that was mended is used", async || {
        is_read(&server.get(&of_a).await).then_some(())
    })
    .await;

    // The API server is down.
    cluster.stop_api();
    let told = eventually("the Secret cannot be read", async || {
        let told = server.get(&of_a).await;
        told.message.contains("no news").then_some(told)
    })
    .await;
    assert_ne!(told.phase(), Phase::Failed);
    let words = "the Secret databricks-token of namespace team-a could not be read: the API server did not answer";
    assert!(told.message.contains(words), "{}", told.message);
    let refused = server.create("team-a").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    server.delete(&of_a).await.unwrap();
    cluster.start_api().await;
    eventually("the Secret is read again", async || {
        is_read(&server.get(&of_m).await).then_some(())
    })
    .await;
    server.create("team-a").await.unwrap();

    let log = server.log();
    assert!(log.contains("the Secret databricks-token of namespace team-a"));
    for secret in [CANARY, &identity, &federated] {
        assert!(!log.contains(secret), "a secret stands in the log");
    }
}
