//! Who is at the other end of a connection.

use rustls::pki_types::CertificateDer;

/// The client, as far as its connection tells.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// The DNS names and URIs of the certificate that it proved to have; none without such a certificate.
    pub(super) names: Option<Vec<String>>,
}

impl Peer {
    /// The holder of that certificate, which TLS has verified. A common name is no name: RFC 9525 §6.3.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Self {
        let names = webpki::EndEntityCert::try_from(certificate).map_or_else(
            |_unreadable| Vec::new(),
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
