//! The identity of a client, as proved by its connection.

use rustls::pki_types::CertificateDer;

/// The client of a connection.
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
