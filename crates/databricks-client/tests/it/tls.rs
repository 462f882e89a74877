//! Trust in certificates.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::Arc,
    thread,
};

use databricks_client::{ErrorKind, RunId};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};

use crate::{
    child_process,
    fixture::{builder, client_of, once},
};

fn run_id() -> RunId {
    RunId::try_from(7).unwrap()
}

/// Starts a TLS server. Returns its address, and the certificate of its authority.
fn workspace() -> (String, String) {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
    certificate.use_authority_key_identifier_extension = true;
    let certificate = certificate.signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::new(config);
    thread::spawn(move || {
        for connection in listener.incoming() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(session, connection.unwrap());
            // A client that does not trust the certificate aborts the handshake.
            if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 13\r\nconnection: close\r\n\r\n{\"run_id\": 7}";
                let _outcome = stream.write_all(answer.as_bytes());
                stream.conn.send_close_notify();
                let _outcome = stream.flush();
            }
        }
    });
    (format!("localhost:{port}"), authority.pem())
}

#[tokio::test]
async fn certificate_of_an_extra_authority_is_trusted() {
    let (address, authority) = workspace();
    let client = client_of(builder().extra_root_certs_pem(authority.into_bytes()), &address);
    assert_eq!(client.get_run(run_id()).await.unwrap().run_id, Some(run_id()));
}

#[tokio::test]
async fn certificate_of_an_unknown_authority_is_rejected_with_the_reason() {
    let (address, _) = workspace();
    let client = client_of(builder().retry(once()), &address);
    let error = client.get_run(run_id()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
}

#[tokio::test]
async fn certificate_for_another_name_is_rejected() {
    let (address, authority) = workspace();
    let address = address.replace("localhost", "127.0.0.1");
    let pool = builder().retry(once()).extra_root_certs_pem(authority.into_bytes());
    let error = client_of(pool, &address).get_run(run_id()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
}

#[tokio::test]
async fn authority_of_the_environment_is_trusted() {
    if let Some(server) = child_process::server() {
        client_of(builder(), &server).get_run(run_id()).await.unwrap();
        return;
    }
    let (address, authority) = workspace();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority).unwrap();
    child_process::run(
        "tls::authority_of_the_environment_is_trusted",
        &address,
        &[("SSL_CERT_FILE", file.path().to_str().unwrap())],
    );
}

#[tokio::test]
async fn extra_authority_is_trusted_in_addition_to_that_of_the_environment() {
    if child_process::server().is_some() {
        let (address, authority) = workspace();
        let error =
            client_of(builder().retry(once()), &address).get_run(run_id()).await.unwrap_err();
        // Both authorities have the same name, so the signature is invalid.
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert!(error.to_string().contains("invalid peer certificate"), "{error}");
        let pool = builder().extra_root_certs_pem(authority.into_bytes());
        client_of(pool, &address).get_run(run_id()).await.unwrap();
        return;
    }
    let (_, another) = workspace();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), another).unwrap();
    child_process::run(
        "tls::extra_authority_is_trusted_in_addition_to_that_of_the_environment",
        "its own",
        &[("SSL_CERT_FILE", file.path().to_str().unwrap())],
    );
}

#[test]
fn invalid_certificate_is_rejected_when_the_pool_is_built() {
    let error = builder().extra_root_certs_pem(b"not a certificate".to_vec()).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}
