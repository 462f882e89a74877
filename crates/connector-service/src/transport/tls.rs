//! TLS of the gRPC port, and who the client is by its certificate.

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

use super::{
    peer::Peer,
    reload::{Reloading, Source},
};
use crate::config_error::ConfigError;

/// What gRPC calls HTTP/2 over TLS.
const H2: &[u8] = b"h2";

/// The files of the server's TLS, all PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate, and those between it and the authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of client certificates. With them a client without a certificate is refused.
    pub client_ca: Option<PathBuf>,
}

/// The server's TLS. The files are read again when they change; connections that are open keep what they began with.
#[derive(Clone)]
pub struct Tls(Arc<Reloading<ServerConfig>>, TlsFiles);

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] that names the flag, the file and the reason.
    pub fn open(files: TlsFiles) -> Result<Self, ConfigError> {
        let mut sources = vec![
            Source { flag: "--tls-cert", path: files.cert.clone() },
            Source { flag: "--tls-key", path: files.key.clone() },
        ];
        sources
            .extend(files.client_ca.clone().map(|path| Source { flag: "--tls-client-ca", path }));
        Ok(Self(Arc::new(Reloading::open(sources, configured)?), files))
    }

    /// Whether clients must show a certificate.
    pub fn verifies_clients(&self) -> bool {
        self.1.client_ca.is_some()
    }

    /// Looks for new certificates again and again.
    pub(crate) async fn follow(self, every: Duration) {
        self.0.follow(every).await;
    }

    /// Shakes hands.
    ///
    /// # Errors
    ///
    /// What the stream or the handshake fails with. The client has been sent the alert for it.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Peer)> {
        let stream = TlsAcceptor::from(self.0.current()).accept(stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = certificate.map_or_else(Peer::default, Peer::of);
        Ok((stream, peer))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.1).finish()
    }
}

/// From a certificate, a key and, if they are there, authorities.
fn configured(read: &[(Source, SecretSlice<u8>)]) -> Result<ServerConfig, ConfigError> {
    let [(cert_source, cert), (key_source, key), authorities @ ..] = read else {
        return Err(ConfigError::new("--tls-cert", "is needed with --tls-key"));
    };
    let chain = certificates(cert_source, cert)?;
    let key = PrivateKeyDer::from_pem_slice(key.expose_secret()).map_err(|error| {
        key_source.refused("holds no private key in PEM form").with_source(error)
    })?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| cert_source.refused("cannot be used").with_source(error))?;
    let builder = match authorities {
        [] => builder.with_no_client_auth(),
        [(source, pem), ..] => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(source, pem)? {
                roots.add(certificate).map_err(|error| {
                    source.refused("holds a certificate that is none").with_source(error)
                })?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| source.refused("cannot be used").with_source(error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            key_source.refused("is not the key of the certificate in --tls-cert")
        }
        error => key_source.refused("cannot be used").with_source(error),
    })?;
    config.alpn_protocols = vec![H2.to_vec()];
    // A resumed session would skip the look at the client's certificate. Connections last long, so nothing is lost.
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
        .map_err(|error| source.refused("is not PEM").with_source(error))?;
    if found.is_empty() {
        return Err(source.refused("holds no certificate in PEM form"));
    }
    Ok(found)
}
