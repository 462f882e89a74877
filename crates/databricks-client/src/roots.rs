//! Trusted certificates: the system's, and more beside them.

use std::{fs, path::PathBuf};

use reqwest::Certificate;

use crate::{Error, ErrorKind};

/// Where systems keep their bundle, below a directory that OpenSSL would look in.
const BUNDLES: [&str; 5] = [
    "certs/ca-certificates.crt",
    "certs/ca-bundle.crt",
    "ca-bundle.pem",
    "cert.pem",
    "pem/tls-ca-bundle.pem",
];

/// The given certificates and the system's bundle.
///
/// The bundle is named too because the loader below reqwest reads `SSL_CERT_FILE` in its place, not beside it.
///
/// # Errors
///
/// `Config` when the text holds no certificate, or one that cannot be read.
pub(crate) fn beside_the_systems(extra_pem: &[u8]) -> Result<Vec<Certificate>, Error> {
    let invalid =
        || Error::new(ErrorKind::Config, "the extra trusted certificates are not PEM certificates");
    let mut roots = Certificate::from_pem_bundle(extra_pem)
        .map_err(|error| invalid().with_source(error.without_url()))?;
    if roots.is_empty() {
        return Err(invalid());
    }
    if let Some(bundle) = system_bundle().and_then(|path| fs::read(path).ok()) {
        // A system's bundle may hold a certificate that rustls does not take; it is no reason to refuse the others.
        roots.extend(Certificate::from_pem_bundle(&bundle).unwrap_or_default());
    }
    Ok(roots)
}

/// The first bundle that there is, whatever the environment says.
fn system_bundle() -> Option<PathBuf> {
    openssl_probe::candidate_cert_dirs()
        .flat_map(|directory| BUNDLES.iter().map(move |bundle| directory.join(bundle)))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_a_certificate_is_refused() {
        for text in ["", "not pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
            assert_eq!(
                beside_the_systems(text.as_bytes()).unwrap_err().kind(),
                ErrorKind::Config,
                "{text}"
            );
        }
    }

    #[test]
    fn the_systems_certificates_stay_trusted() {
        // Any bundle will do as the extra one; without a system bundle there is nothing to keep.
        if let Some(bundle) = system_bundle() {
            let extra = fs::read(bundle).unwrap();
            let alone = Certificate::from_pem_bundle(&extra).unwrap().len();
            assert!(beside_the_systems(&extra).unwrap().len() > alone);
        }
    }
}
