//! A temporary certificate authority, its certificate files, and TLS clients.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use connector_service::{Tls, TlsFiles};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{PrivateKeyDer, ServerName},
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};

/// Signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn identity(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.sign(&CertificateParams::new(names).unwrap())
    }

    pub fn with_uri(&self, uri: &str) -> Identity {
        let mut params = CertificateParams::new([]).unwrap();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        self.sign(&params)
    }

    pub fn expired(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity { certificate, key }
    }
}

/// The files as cert-manager names them.
pub struct Files(TempDir);

impl Files {
    pub fn new(server: &Identity, clients: Option<&Authority>) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write(server);
        if let Some(authority) = clients {
            std::fs::write(files.path("ca.crt"), authority.0.pem()).unwrap();
        }
        files
    }

    pub fn write(&self, server: &Identity) {
        std::fs::write(self.path("tls.crt"), server.certificate.pem()).unwrap();
        std::fs::write(self.path("tls.key"), server.key.serialize_pem()).unwrap();
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.0.path()).join(name)
    }

    pub fn named(&self) -> TlsFiles {
        let client_ca = Some(self.path("ca.crt")).filter(|path| path.exists());
        TlsFiles { cert: self.path("tls.crt"), key: self.path("tls.key"), client_ca }
    }

    pub fn open(&self) -> Tls {
        Tls::open(self.named()).unwrap()
    }
}

/// A TLS client with its trusted authority and its certificate.
#[derive(Clone)]
pub struct Client(Arc<ClientConfig>);

impl Client {
    pub fn new(trusted: &Authority, certificate: Option<&Identity>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(
                    vec![identity.certificate.der().clone()],
                    PrivateKeyDer::Pkcs8(identity.key.serialize_der().into()),
                )
                .unwrap(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self(Arc::new(config))
    }

    /// Performs the client's side of the handshake.
    pub async fn shake(&self, server: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(server).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await
    }

    /// Returns the certificate that the server presents.
    pub async fn certificate(&self, server: SocketAddr) -> io::Result<Vec<u8>> {
        let stream = self.shake(server).await?;
        Ok(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
    }

    pub async fn channel(&self, server: SocketAddr) -> Result<Channel, tonic::transport::Error> {
        let client = self.clone();
        let connector = tower::service_fn(move |_uri: http::Uri| {
            let client = client.clone();
            async move { client.shake(server).await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://localhost").connect_with_connector(connector).await
    }
}

impl Identity {
    pub fn der(&self) -> &[u8] {
        self.certificate.der()
    }
}
