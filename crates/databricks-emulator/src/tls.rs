//! A throw-away certificate authority, one certificate signed by it, and the TLS settings that serve it.

use crate::builder::StartError;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use std::sync::Arc;

/// The names that the certificate is good for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What a listener and its clients need.
pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    /// The certificate of the authority, for clients to trust. Its key is gone.
    pub(crate) authority_pem: String,
}

impl Tls {
    /// Makes new keys and certificates. No process-wide provider is installed.
    pub(crate) fn throw_away() -> Result<Self, StartError> {
        let (authority_pem, chain, key) = certificates().map_err(StartError::Certificate)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        let mut config = config.map_err(StartError::Tls)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), authority_pem })
    }
}

type Chain = Vec<rustls::pki_types::CertificateDer<'static>>;

fn certificates() -> Result<(String, Chain, PrivateKeyDer<'static>), rcgen::Error> {
    let mut authority = CertificateParams::new([])?;
    authority
        .distinguished_name
        .push(DnType::CommonName, "databricks-emulator throw-away authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

    let mut server = CertificateParams::new(NAMES.map(str::to_owned))?;
    server.distinguished_name.push(DnType::CommonName, "databricks-emulator");
    server.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &authority)?;

    let chain = vec![certificate.der().clone()];
    Ok((authority.pem(), chain, PrivateKeyDer::Pkcs8(key.serialize_der().into())))
}
