//! What a stop does, in order.

use std::time::Duration;

use connector_core::Registry;
use connector_server::ServerConfig;
use flyteidl2::connector::GetTaskRequest;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    scripted::{Act, Meta, Scripted, category, create},
    server::{config, scripted, start},
};

fn waiting_get() -> GetTaskRequest {
    GetTaskRequest {
        resource_meta: Meta::bytes(Act::Wait),
        task_category: Some(category()),
        ..Default::default()
    }
}

#[tokio::test]
async fn calls_in_flight_finish_while_readiness_and_health_say_no() {
    let (server, connector) = scripted().await;
    let mut health = HealthClient::new(server.channel.clone());
    let mut watched = Vec::new();
    for service in ["", "flyteidl2.connector.AsyncConnectorService"] {
        let mut watch = health
            .watch(HealthCheckRequest { service: service.to_owned() })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
        watched.push(watch);
    }
    let mut tasks = server.tasks();
    let call = tokio::spawn(async move { tasks.get_task(waiting_get()).await });
    connector.0.entered.acquire().await.unwrap().forget();

    server.stop.cancel();
    for watch in &mut watched {
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    }
    assert_eq!(server.page("/readyz").await.0, 503);
    assert_eq!(server.page("/livez").await.0, 200);
    assert!(!server.ended.is_finished());

    connector.0.go.notify_one();
    call.await.unwrap().unwrap();
    // Watches are ended, not waited for.
    for watch in &mut watched {
        assert!(watch.message().await.unwrap().is_none());
    }
    server.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_create_whose_caller_has_gone_finishes_too() {
    let (server, connector) = scripted().await;
    let mut tasks = server.tasks();
    let caller = tokio::spawn(async move { tasks.create_task(create(Act::Wait)).await });
    connector.0.entered.acquire().await.unwrap().forget();
    caller.abort();
    server.scrape_until(r#"method="CreateTask",code="CANCELLED"} 1"#).await;

    server.stop.cancel();
    while server.page("/readyz").await.0 != 503 {
        tokio::task::yield_now().await;
    }
    assert!(!server.ended.is_finished());
    connector.0.go.notify_one();
    server.ended.await.unwrap().unwrap();
    assert_eq!(connector.0.created.available_permits(), 1);
}

#[tokio::test]
async fn the_grace_time_ends_a_drain_that_would_not_end() {
    let connector = Scripted::new();
    let registry = Registry::builder().register(connector.clone()).build().unwrap();
    let server =
        start(ServerConfig { drain_grace: Duration::from_millis(1), ..config() }, registry).await;
    let mut tasks = server.tasks();
    let call = tokio::spawn(async move { tasks.get_task(waiting_get()).await });
    connector.0.entered.acquire().await.unwrap().forget();
    server.stop.cancel();
    server.ended.await.unwrap().unwrap();
    call.abort();
}

#[tokio::test]
async fn an_idle_server_stops_at_once() {
    let (server, _connector) = scripted().await;
    server.stop.cancel();
    server.ended.await.unwrap().unwrap();
}
