//! Self-signed certificates, generated at every start.

use crate::start_error::StartError;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::sync::Arc;

/// The subject alternative names of the server certificates.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// TLS configurations of the HTTPS listener, and the root certificate for its clients.
pub(crate) struct Certificates {
    pub(crate) valid: Arc<ServerConfig>,
    /// Signed by another CA, which no client trusts.
    pub(crate) untrusted: Arc<ServerConfig>,
    pub(crate) expired: Arc<ServerConfig>,
    /// The root certificate. Its key is not kept.
    pub(crate) root_pem: String,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

impl Certificates {
    /// Generates new keys and certificates. Installs no process-wide crypto provider.
    pub(crate) fn generate() -> Result<Self, StartError> {
        let ca = certificate_authority().map_err(StartError::Certificate)?;
        let other_ca = certificate_authority().map_err(StartError::Certificate)?;
        Ok(Self {
            valid: server_config(&ca, false)?,
            untrusted: server_config(&other_ca, false)?,
            expired: server_config(&ca, true)?,
            root_pem: ca.pem(),
        })
    }
}

type CertificateAuthority = CertifiedIssuer<'static, KeyPair>;

fn certificate_authority() -> Result<CertificateAuthority, rcgen::Error> {
    let mut ca = CertificateParams::new([])?;
    ca.distinguished_name.push(DnType::CommonName, "databricks-emulator test CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(ca, KeyPair::generate()?)
}

fn server_config(
    ca: &CertificateAuthority,
    expired: bool,
) -> Result<Arc<ServerConfig>, StartError> {
    let (chain, key) = server_certificate(ca, expired).map_err(StartError::Certificate)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(StartError::Tls)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

type Chain = Vec<CertificateDer<'static>>;

fn server_certificate(
    ca: &CertificateAuthority,
    expired: bool,
) -> Result<(Chain, PrivateKeyDer<'static>), rcgen::Error> {
    let mut server = CertificateParams::new(NAMES.map(str::to_owned))?;
    server.distinguished_name.push(DnType::CommonName, "databricks-emulator");
    server.use_authority_key_identifier_extension = true;
    if expired {
        server.not_after = date_time_ymd(2020, 1, 1);
    }
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, ca)?;
    Ok((vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into())))
}
