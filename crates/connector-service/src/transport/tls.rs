//! TLS of the gRPC port: certificate files, client verification, handshake.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use secrecy::{ExposeSecret as _, SecretSlice};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::tls_reload::{Reloading, Source};
use crate::config_error::ConfigError;

/// The ALPN protocol of HTTP/2.
const H2: &[u8] = b"h2";

/// The PEM files of the server's TLS.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate and intermediate certificates.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// Authorities of client certificates. If set, clients must present a certificate.
    pub client_ca: Option<PathBuf>,
}

/// TLS of the gRPC port. The files are reloaded when they change; open connections keep the previous ones.
#[derive(Clone)]
pub struct Tls(Arc<Reloading<ServerConfig>>, TlsFiles);

impl Tls {
    /// Loads the files.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with the flag, the file and the reason.
    pub fn open(files: TlsFiles) -> Result<Self, ConfigError> {
        let mut sources = vec![
            Source { flag: "--tls-cert", path: files.cert.clone() },
            Source { flag: "--tls-key", path: files.key.clone() },
        ];
        sources
            .extend(files.client_ca.clone().map(|path| Source { flag: "--tls-client-ca", path }));
        Ok(Self(Arc::new(Reloading::open(sources, server_config)?), files))
    }

    /// True if clients must present a certificate.
    pub fn verifies_clients(&self) -> bool {
        self.1.client_ca.is_some()
    }

    /// Reloads the files when they change. Never completes.
    pub(crate) async fn reload(self, interval: Duration) {
        self.0.reload(interval).await;
    }

    /// Performs the handshake. Returns the client's identity as well.
    ///
    /// # Errors
    ///
    /// An error of the stream or the handshake. The client has received the alert.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Peer)> {
        let stream = TlsAcceptor::from(self.0.current()).accept(stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = certificate.map_or_else(Peer::default, Peer::from_certificate);
        Ok((stream, peer))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.1).finish()
    }
}

/// The identity of a client, as proved by its connection.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// DNS names and URIs of the verified client certificate. None without one.
    pub(super) names: Option<Vec<String>>,
}

impl Peer {
    /// Reads the names of a certificate that TLS has verified. The common name is ignored (RFC 9525 section 6.3).
    pub(super) fn from_certificate(certificate: &CertificateDer<'_>) -> Self {
        let names = webpki::EndEntityCert::try_from(certificate).map_or_else(
            |_invalid| Vec::new(),
            |certificate| {
                certificate
                    .valid_dns_names()
                    .chain(certificate.valid_uri_names())
                    .map(str::to_owned)
                    .collect()
            },
        );
        Self { names: Some(names) }
    }
}

/// Parses a certificate chain, a key and, optionally, authorities.
fn server_config(files: &[(Source, SecretSlice<u8>)]) -> Result<ServerConfig, ConfigError> {
    let [(cert_source, cert), (key_source, key), authorities @ ..] = files else {
        return Err(ConfigError::new("--tls-cert", "is required with --tls-key"));
    };
    let chain = certificates(cert_source, cert)?;
    let key = PrivateKeyDer::from_pem_slice(key.expose_secret()).map_err(|error| {
        key_source.error("contains no private key in PEM form").with_source(error)
    })?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| cert_source.error("cannot be used").with_source(error))?;
    let builder = match authorities {
        [] => builder.with_no_client_auth(),
        [(source, pem), ..] => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(source, pem)? {
                roots.add(certificate).map_err(|error| {
                    source.error("contains an invalid certificate").with_source(error)
                })?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| source.error("cannot be used").with_source(error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            key_source.error("is not the key of the certificate in --tls-cert")
        }
        error => key_source.error("cannot be used").with_source(error),
    })?;
    config.alpn_protocols = vec![H2.to_vec()];
    // A resumed session would skip client verification. Connections are long-lived, so resumption saves little.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn certificates(
    source: &Source,
    pem: &SecretSlice<u8>,
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.expose_secret())
        .collect::<Result<_, _>>()
        .map_err(|error| source.error("is not PEM").with_source(error))?;
    if found.is_empty() {
        return Err(source.error("contains no certificate in PEM form"));
    }
    Ok(found)
}
