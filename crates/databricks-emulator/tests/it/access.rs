//! Listeners, certificates and tokens.

use crate::client::{Client, emulator, named, plain, wait_until};
use databricks_emulator::{Emulator, RecordedAuthorization, StartError};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn https_is_trusted_with_the_emulators_root_certificate() {
    let emulator = emulator().await;
    let client = Client::over_tls(&emulator);
    let run = client.run(client.submit(&named("etl")).await).await;
    let page = run["run_page_url"].as_str().unwrap();
    assert!(page.starts_with(&format!("https://{}/?o=", emulator.https_host())), "{page}");
}

#[tokio::test]
async fn two_emulators_can_share_certificates() {
    let one = emulator().await;
    let other = Emulator::builder().certificates_from(&one).start().await.unwrap();
    assert_eq!(one.certificate_pem(), other.certificate_pem());
    Client::over_tls(&other).submit(&named("etl")).await;
    assert!(one.requests().is_empty());
}

#[tokio::test]
async fn https_is_not_trusted_with_another_root_certificate() {
    let (ours, other) = (emulator().await, emulator().await);
    let root = reqwest::Certificate::from_pem(other.certificate_pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap();
    let error = client.get(format!("https://{}/", ours.https_host())).send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    assert!(ours.requests().is_empty());
}

#[tokio::test]
async fn missing_token_is_401_and_unknown_token_is_403_with_html() {
    let emulator = Emulator::builder().token("one").token("two").start().await.unwrap();
    let url = format!("{}/api/2.2/jobs/runs/list", emulator.http_url());
    let send =
        |authorization: &str| plain().get(&url).header("authorization", authorization).send();

    let missing = plain().get(&url).send().await.unwrap();
    assert_eq!(missing.status(), 401);
    assert_eq!(missing.json::<Value>().await.unwrap()["error_code"], "UNAUTHENTICATED");
    assert_eq!(send("Basic b25l").await.unwrap().status(), 401);

    let unknown = send("Bearer dapi-emulator").await.unwrap();
    assert_eq!(unknown.status(), 403);
    assert!(unknown.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    assert!(unknown.text().await.unwrap().contains("Invalid access token."));
    for token in ["Bearer one", "bearer two"] {
        assert_eq!(send(token).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn debug_and_json_contain_no_token() {
    let builder = Emulator::builder().token("canary-accepted");
    let settings = format!("{builder:?}");
    let emulator = builder.start().await.unwrap();
    for token in ["canary-accepted", "canary-wrong"] {
        plain()
            .get(format!("{}/api/2.2/x", emulator.http_url()))
            .bearer_auth(token)
            .send()
            .await
            .unwrap();
    }
    let requests = emulator.requests();
    let seen: Vec<_> = requests.iter().map(|request| request.authorization.clone()).collect();
    let bearer =
        |accepted| RecordedAuthorization::Present { scheme: "Bearer".to_owned(), accepted };
    assert_eq!(seen, [bearer(true), bearer(false)]);
    let shown =
        format!("{settings}{emulator:?}{requests:?}{}", serde_json::to_string(&requests).unwrap());
    assert!(!shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_404() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/api/2.2/jobs/runs/submit"),
        (Method::POST, "/api/2.2/jobs/create"),
        (Method::GET, "/api/2.2/jobs/runs/get/"),
    ] {
        let (status, response) = client.call(method, path, None).await;
        assert_eq!(
            (status.as_u16(), &response["error_code"]),
            (404, &json!("ENDPOINT_NOT_FOUND")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn responses_name_the_configured_user() {
    let emulator = Emulator::builder().user_name("ada@example.com").start().await.unwrap();
    let client = Client::of(&emulator);
    assert_eq!(client.get("/api/2.0/preview/scim/v2/Me").await.1["userName"], "ada@example.com");
    let run = client.run(client.submit(&named("etl")).await).await;
    assert_eq!(run["creator_user_name"], "ada@example.com");
}

#[tokio::test]
async fn start_error_names_the_taken_port() {
    let emulator = emulator().await;
    let port: u16 = emulator.http_url().rsplit_once(':').unwrap().1.parse().unwrap();
    let error = Emulator::builder().https_port(port).start().await.unwrap_err();
    assert!(matches!(error, StartError::Listen { scheme: "HTTPS", .. }));
    assert!(error.to_string().contains(&port.to_string()));
}

#[tokio::test]
async fn emulator_stops_listening_after_shutdown_and_drop() {
    let (stopped, dropped) = (emulator().await, emulator().await);
    // HTTPS, because another test may reuse the port, but not the certificate.
    let clients = [Client::over_tls(&stopped), Client::over_tls(&dropped)];
    for client in &clients {
        assert_eq!(client.get("/emulator/v1/runs").await.0, 200);
    }
    stopped.shutdown().await;
    drop(dropped);
    // An aborted task closes its socket only when the runtime polls it again.
    for client in clients {
        wait_until("the listener is closed", async || !client.is_reachable().await).await;
    }
}
