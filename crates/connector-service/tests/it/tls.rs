//! TLS and client certificates, with certificates made here.

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
    scripted::{Act, Meta, Scripted, category},
    server::{Running, config, start_unmet},
};

async fn serving(config: ServiceConfig) -> Running {
    let registry = Registry::builder().register(Scripted::new()).build().unwrap();
    start_unmet(config, registry).await
}

async fn guarded(files: &Files) -> Running {
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

/// Whether a whole call goes through. With TLS 1.3 a client learns of its refusal only after its own handshake.
async fn calls(client: &Client, server: &Running) -> bool {
    match client.channel(server.grpc).await {
        Ok(channel) => get(channel).await.is_ok(),
        Err(_refused) => false,
    }
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_is_served_and_needs_no_certificate() {
    let authority = Authority::new();
    let server = guarded(&Files::new(&authority.identity(&["localhost"]), None)).await;
    assert!(calls(&Client::new(&authority, None), &server).await);
    assert!(!calls(&Client::new(&Authority::new(), None), &server).await);
}

#[tokio::test]
async fn with_a_client_authority_only_its_own_and_valid_certificates_are_served() {
    let (servers, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let server = guarded(&Files::new(&servers.identity(&["localhost"]), Some(&clients))).await;
    for (shown, served, what) in [
        (Some(clients.identity(&["flyte.example"])), true, "the right authority"),
        (Some(strangers.identity(&["flyte.example"])), false, "another authority"),
        (Some(servers.identity(&["flyte.example"])), false, "the authority of servers"),
        (Some(clients.expired("flyte.example")), false, "an expired certificate"),
        (None, false, "no certificate"),
    ] {
        let client = Client::new(&servers, shown.as_ref());
        assert_eq!(calls(&client, &server).await, served, "{what}");
    }
}

#[tokio::test]
async fn plaintext_to_the_tls_port_is_closed() {
    let authority = Authority::new();
    let server = guarded(&Files::new(&authority.identity(&["localhost"]), None)).await;
    assert!(get(server.channel.clone()).await.is_err());
    let mut stream = TcpStream::connect(server.grpc).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _reset_counts_too = stream.read_to_end(&mut answer).await;
    // A TLS alert, if anything, and never a frame of HTTP/2.
    assert!(answer.is_empty() || answer[0] == 0x15, "{answer:?}");
}

#[tokio::test]
async fn a_new_certificate_is_taken_while_a_connection_is_open_and_a_bad_one_is_not() {
    let authority = Authority::new();
    let (first, second) = (authority.identity(&["localhost"]), authority.identity(&["localhost"]));
    let files = Files::new(&first, None);
    let server = guarded(&files).await;
    let client = Client::new(&authority, None);
    let open = client.channel(server.grpc).await.unwrap();
    get(open.clone()).await.unwrap();
    assert_eq!(client.certificate(server.grpc).await.unwrap(), first.der());

    files.write(&second);
    // Ended by the test runner if it never comes.
    while client.certificate(server.grpc).await.unwrap() != second.der() {}
    get(open.clone()).await.unwrap();

    // A key that does not belong to the certificate, then nothing at all.
    std::fs::write(files.path("tls.key"), rcgen::KeyPair::generate().unwrap().serialize_pem())
        .unwrap();
    for _ in 0..20 {
        assert_eq!(client.certificate(server.grpc).await.unwrap(), second.der());
    }
    files.write(&first);
    while client.certificate(server.grpc).await.unwrap() != first.der() {}
    get(open).await.unwrap();
}

#[tokio::test]
async fn a_handshake_that_never_ends_keeps_nobody_out_and_is_ended() {
    let authority = Authority::new();
    let files = Files::new(&authority.identity(&["localhost"]), None);
    let limits = Limits { handshake_time: Duration::from_millis(300), ..Limits::default() };
    let server = serving(ServiceConfig { tls: Some(files.open()), limits, ..config() }).await;
    let mut stuck = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.grpc).await.unwrap();
        // The head of a record that never comes.
        stream.write_all(b"\x16\x03\x01\x02\0").await.unwrap();
        stuck.push(stream);
    }
    assert!(calls(&Client::new(&authority, None), &server).await);
    for mut stream in stuck {
        let _reset_counts_too = stream.read_to_end(&mut Vec::new()).await;
    }
}

#[test]
fn files_that_cannot_be_used_are_named_with_the_reason() {
    let authority = Authority::new();
    let server = authority.identity(&["localhost"]);
    let foreign_key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (file, content, flag, why) in [
        ("tls.crt", "", "--tls-cert", "holds no certificate in PEM form"),
        ("tls.crt", "-----BEGIN CERTIFICATE-----\nno", "--tls-cert", "is not PEM"),
        ("tls.key", "canary", "--tls-key", "holds no private key in PEM form"),
        ("tls.key", &foreign_key, "--tls-key", "is not the key of the certificate in --tls-cert"),
        ("ca.crt", "", "--tls-client-ca", "holds no certificate in PEM form"),
    ] {
        let files = Files::new(&server, Some(&authority));
        std::fs::write(files.path(file), content).unwrap();
        let error = Tls::open(files.named()).unwrap_err().to_string();
        assert_eq!(error, format!("{flag}: {} {why}", files.path(file).display()));
    }
}
