//! TLS and client certificates, with generated certificates.

use std::time::Duration;

use connector_core::Registry;
use connector_service::{Limits, ServiceConfig, Tls};
use flyteidl2::connector::{
    GetTaskRequest, async_connector_service_client::AsyncConnectorServiceClient,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::transport::Channel;

use crate::{
    authority::{Authority, Client, Files},
    eventually::until,
    scripted::{Act, Meta, Scripted, category},
    server::{Running, config, start_lazy},
};

async fn serving(config: ServiceConfig) -> Running {
    let registry = Registry::builder().register(Scripted::new()).build().unwrap();
    start_lazy(config, registry).await
}

async fn serving_tls(files: &Files) -> Running {
    let reload_every = Duration::from_millis(5);
    serving(ServiceConfig { tls: Some(files.open()), reload_every, ..config() }).await
}

async fn get(channel: Channel) -> Result<(), tonic::Status> {
    let request = GetTaskRequest {
        resource_meta: Meta::bytes(Act::Ok),
        task_category: Some(category()),
        ..Default::default()
    };
    AsyncConnectorServiceClient::new(channel).get_task(request).await.map(|_| ())
}

/// True if a call succeeds. With TLS 1.3 a client completes its handshake before the server rejects it.
async fn calls(client: &Client, server: &Running) -> bool {
    match client.channel(server.grpc).await {
        Ok(channel) => get(channel).await.is_ok(),
        Err(_rejected) => false,
    }
}

#[tokio::test]
async fn client_that_trusts_the_authority_is_served_without_a_certificate() {
    let authority = Authority::new();
    let server = serving_tls(&Files::new(&authority.identity(&["localhost"]), None)).await;
    assert!(calls(&Client::new(&authority, None), &server).await);
    assert!(!calls(&Client::new(&Authority::new(), None), &server).await);
}

#[tokio::test]
async fn client_authority_admits_only_its_own_valid_certificates() {
    let (servers, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let server = serving_tls(&Files::new(&servers.identity(&["localhost"]), Some(&clients))).await;
    for (certificate, served, case) in [
        (Some(clients.identity(&["flyte.example"])), true, "the right authority"),
        (Some(others.identity(&["flyte.example"])), false, "another authority"),
        (Some(servers.identity(&["flyte.example"])), false, "the authority of servers"),
        (Some(clients.expired("flyte.example")), false, "an expired certificate"),
        (None, false, "no certificate"),
    ] {
        let client = Client::new(&servers, certificate.as_ref());
        assert_eq!(calls(&client, &server).await, served, "{case}");
    }
}

#[tokio::test]
async fn plaintext_connection_to_the_tls_port_is_closed() {
    let authority = Authority::new();
    let server = serving_tls(&Files::new(&authority.identity(&["localhost"]), None)).await;
    assert!(get(server.channel.clone()).await.is_err());
    let mut stream = TcpStream::connect(server.grpc).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut received = Vec::new();
    let _reset_counts_too = stream.read_to_end(&mut received).await;
    // At most a TLS alert, and no HTTP/2 frame.
    assert!(received.is_empty() || received[0] == 0x15, "{received:?}");
}

#[tokio::test]
async fn new_certificate_is_loaded_while_a_connection_is_open_and_an_invalid_one_is_not() {
    let authority = Authority::new();
    let (first, second) = (authority.identity(&["localhost"]), authority.identity(&["localhost"]));
    let files = Files::new(&first, None);
    let server = serving_tls(&files).await;
    let client = Client::new(&authority, None);
    let open = client.channel(server.grpc).await.unwrap();
    get(open.clone()).await.unwrap();
    assert_eq!(client.certificate(server.grpc).await.unwrap(), first.der());

    files.write(&second);
    until("the new certificate is used", async || {
        client.certificate(server.grpc).await.unwrap() == second.der()
    })
    .await;
    get(open.clone()).await.unwrap();

    // The key of another certificate.
    std::fs::write(files.path("tls.key"), rcgen::KeyPair::generate().unwrap().serialize_pem())
        .unwrap();
    for _ in 0..20 {
        assert_eq!(client.certificate(server.grpc).await.unwrap(), second.der());
    }
    files.write(&first);
    until("the first certificate is used again", async || {
        client.certificate(server.grpc).await.unwrap() == first.der()
    })
    .await;
    get(open).await.unwrap();
}

#[tokio::test]
async fn stalled_handshakes_are_closed_and_block_no_client() {
    let authority = Authority::new();
    let files = Files::new(&authority.identity(&["localhost"]), None);
    let limits = Limits { handshake_time: Duration::from_millis(300), ..Limits::default() };
    let server = serving(ServiceConfig { tls: Some(files.open()), limits, ..config() }).await;
    let mut stuck = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.grpc).await.unwrap();
        // The header of a record without its content.
        stream.write_all(b"\x16\x03\x01\x02\0").await.unwrap();
        stuck.push(stream);
    }
    assert!(calls(&Client::new(&authority, None), &server).await);
    for mut stream in stuck {
        let _reset_counts_too = stream.read_to_end(&mut Vec::new()).await;
    }
}

#[test]
fn invalid_files_are_reported_with_flag_and_reason() {
    let authority = Authority::new();
    let server = authority.identity(&["localhost"]);
    let foreign_key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (file, content, flag, reason) in [
        ("tls.crt", "", "--tls-cert", "contains no certificate in PEM form"),
        ("tls.crt", "-----BEGIN CERTIFICATE-----\nno", "--tls-cert", "is not PEM"),
        ("tls.key", "canary", "--tls-key", "contains no private key in PEM form"),
        ("tls.key", &foreign_key, "--tls-key", "is not the key of the certificate in --tls-cert"),
        ("ca.crt", "", "--tls-client-ca", "contains no certificate in PEM form"),
    ] {
        let files = Files::new(&server, Some(&authority));
        std::fs::write(files.path(file), content).unwrap();
        let error = Tls::open(files.named()).unwrap_err().to_string();
        assert_eq!(error, format!("{flag}: {} {reason}", files.path(file).display()));
    }
}
