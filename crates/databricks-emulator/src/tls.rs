//! A throw-away certificate authority, certificates signed by it, and the TLS settings that serve them.

use crate::builder::StartError;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::sync::Arc;

/// The names that the certificates are good for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What a listener and its clients need.
pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    /// The same names, under an authority that nobody is told of.
    pub(crate) untrusted: Arc<ServerConfig>,
    /// The same names and authority, but too late.
    pub(crate) expired: Arc<ServerConfig>,
    /// The certificate of the authority, for clients to trust. Its key is gone.
    pub(crate) authority_pem: String,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Makes new keys and certificates. No process-wide provider is installed.
    pub(crate) fn throw_away() -> Result<Self, StartError> {
        let authority = authority().map_err(StartError::Certificate)?;
        let other = self::authority().map_err(StartError::Certificate)?;
        Ok(Self {
            config: config(&authority, false)?,
            untrusted: config(&other, false)?,
            expired: config(&authority, true)?,
            authority_pem: authority.pem(),
        })
    }
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Result<Authority, rcgen::Error> {
    let mut authority = CertificateParams::new([])?;
    authority
        .distinguished_name
        .push(DnType::CommonName, "databricks-emulator throw-away authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(authority, KeyPair::generate()?)
}

fn config(authority: &Authority, expired: bool) -> Result<Arc<ServerConfig>, StartError> {
    let (chain, key) = certificate(authority, expired).map_err(StartError::Certificate)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(StartError::Tls)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

type Chain = Vec<CertificateDer<'static>>;

fn certificate(
    authority: &Authority,
    expired: bool,
) -> Result<(Chain, PrivateKeyDer<'static>), rcgen::Error> {
    let mut server = CertificateParams::new(NAMES.map(str::to_owned))?;
    server.distinguished_name.push(DnType::CommonName, "databricks-emulator");
    server.use_authority_key_identifier_extension = true;
    if expired {
        server.not_after = date_time_ymd(2020, 1, 1);
    }
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, authority)?;
    Ok((vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into())))
}
