//! Listeners, certificates and tokens.

use crate::client::{Client, emulator, named, plain};
use databricks_emulator::{AuthorizationSeen, Emulator, StartError};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn https_works_with_its_certificate_as_the_only_root() {
    let emulator = emulator().await;
    let client = Client::over_tls(&emulator);
    let run = client.run(client.submit(&named("etl")).await).await;
    let page = run["run_page_url"].as_str().unwrap();
    assert!(page.starts_with(&format!("https://{}/?o=", emulator.https_host())), "{page}");
}

#[tokio::test]
async fn the_certificate_of_one_emulator_serves_another() {
    let one = emulator().await;
    let other = Emulator::builder().same_certificates(&one).start().await.unwrap();
    assert_eq!(one.certificate_pem(), other.certificate_pem());
    Client::over_tls(&other).submit(&named("etl")).await;
    assert!(one.requests().is_empty());
}

#[tokio::test]
async fn https_is_not_trusted_without_its_certificate() {
    let (ours, other) = (emulator().await, emulator().await);
    let root = reqwest::Certificate::from_pem(other.certificate_pem().as_bytes()).unwrap();
    let stranger = reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap();
    let error = stranger.get(format!("https://{}/", ours.https_host())).send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    assert!(ours.requests().is_empty());
}

#[tokio::test]
async fn no_token_is_401_and_a_wrong_one_403_with_a_page() {
    let emulator = Emulator::builder().token("one").token("two").start().await.unwrap();
    let url = format!("{}/api/2.2/jobs/runs/list", emulator.http_url());
    let ask = |authorization: &str| plain().get(&url).header("authorization", authorization).send();

    let missing = plain().get(&url).send().await.unwrap();
    assert_eq!(missing.status(), 401);
    assert_eq!(missing.json::<Value>().await.unwrap()["error_code"], "UNAUTHENTICATED");
    assert_eq!(ask("Basic b25l").await.unwrap().status(), 401);

    let wrong = ask("Bearer dapi-emulator").await.unwrap();
    assert_eq!(wrong.status(), 403);
    assert!(wrong.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    assert!(wrong.text().await.unwrap().contains("Invalid access token."));
    for token in ["Bearer one", "bearer two"] {
        assert_eq!(ask(token).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_token_is_never_shown() {
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
    let bearer = |accepted| AuthorizationSeen::Present { scheme: "Bearer".to_owned(), accepted };
    assert_eq!(seen, [bearer(true), bearer(false)]);
    let shown =
        format!("{settings}{emulator:?}{requests:?}{}", serde_json::to_string(&requests).unwrap());
    assert!(!shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_not_found() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/api/2.2/jobs/runs/submit"),
        (Method::POST, "/api/2.2/jobs/create"),
        (Method::GET, "/api/2.2/jobs/runs/get/"),
    ] {
        let (status, answer) = client.call(method, path, None).await;
        assert_eq!(
            (status.as_u16(), &answer["error_code"]),
            (404, &json!("ENDPOINT_NOT_FOUND")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_owner_of_the_token_is_told() {
    let emulator = Emulator::builder().user_name("ada@example.com").start().await.unwrap();
    let client = Client::of(&emulator);
    assert_eq!(client.get("/api/2.0/preview/scim/v2/Me").await.1["userName"], "ada@example.com");
    let run = client.run(client.submit(&named("etl")).await).await;
    assert_eq!(run["creator_user_name"], "ada@example.com");
}

#[tokio::test]
async fn a_taken_port_is_a_clear_error() {
    let emulator = emulator().await;
    let port: u16 = emulator.http_url().rsplit_once(':').unwrap().1.parse().unwrap();
    let error = Emulator::builder().https_port(port).start().await.unwrap_err();
    assert!(matches!(error, StartError::Listen { scheme: "HTTPS", .. }));
    assert!(error.to_string().contains(&port.to_string()));
}

#[tokio::test]
async fn nothing_listens_after_shutdown_or_drop() {
    let (stopped, dropped) = (emulator().await, emulator().await);
    // Over HTTPS, because another test may get the port, but not with this certificate.
    let clients = [Client::over_tls(&stopped), Client::over_tls(&dropped)];
    for client in &clients {
        assert_eq!(client.get("/emulator/v1/runs").await.0, 200);
    }
    stopped.shutdown().await;
    drop(dropped);
    // What an abort ends is closed when its task is next looked at.
    for client in clients {
        let mut tries = 0;
        while client.reaches().await {
            tries += 1;
            assert!(tries < 1000, "it still answers");
            tokio::task::yield_now().await;
        }
    }
}
