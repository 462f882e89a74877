//! Trusted certificates: the system's, and more beside them.

use std::{fs, path::Path};

use reqwest::Certificate;

use crate::{Error, ErrorKind};

/// Where systems keep their bundle: Debian and Alpine, Fedora in its two places, SUSE, BSD and macOS.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Every trusted certificate: the system's, those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, and the given ones.
///
/// The usual loader lets those variables take the place of the system's bundle; so the bundle is read here as well,
/// whatever the environment says.
///
/// # Errors
///
/// `Config` when the given text holds no certificate, or when there is none at all.
pub(crate) fn trusted(extra_pem: Option<&[u8]>) -> Result<Vec<Certificate>, Error> {
    // A system may hold a certificate that rustls does not take; it is no reason to refuse the others.
    let bundle = system_bundle().and_then(|path| fs::read(path).ok()).unwrap_or_default();
    let mut roots = Certificate::from_pem_bundle(&bundle).unwrap_or_default();
    let native = rustls_native_certs::load_native_certs().certs;
    roots.extend(native.iter().filter_map(|der| Certificate::from_der(der).ok()));
    if let Some(pem) = extra_pem {
        let invalid = || {
            Error::new(ErrorKind::Config, "the extra trusted certificates are not PEM certificates")
        };
        let extra = Certificate::from_pem_bundle(pem)
            .map_err(|error| invalid().with_source(error.without_url()))?;
        if extra.is_empty() {
            return Err(invalid());
        }
        roots.extend(extra);
    }
    if roots.is_empty() {
        return Err(Error::new(
            ErrorKind::Config,
            "the system has no trusted certificates; install its package of CA certificates, or give some",
        ));
    }
    Ok(roots)
}

/// The first bundle that there is, whatever the environment says.
fn system_bundle() -> Option<&'static Path> {
    BUNDLES.into_iter().map(Path::new).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_a_certificate_is_refused() {
        for text in ["", "not pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
            assert_eq!(
                trusted(Some(text.as_bytes())).unwrap_err().kind(),
                ErrorKind::Config,
                "{text}"
            );
        }
    }

    #[test]
    fn the_systems_certificates_stay_trusted_beside_others() {
        let system = trusted(None).unwrap().len();
        // Any bundle will do as the extra one; without a system bundle there is nothing to keep.
        if let Some(bundle) = system_bundle() {
            let pem = fs::read(bundle).unwrap();
            let extra = Certificate::from_pem_bundle(&pem).unwrap().len();
            assert_eq!(trusted(Some(&pem)).unwrap().len(), system + extra);
        }
    }

    /// Names nothing: only the process that the test starts for itself has it.
    const CHILD: &str = "DATABRICKS_CLIENT_TEST_ROOTS";

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test tells its two processes apart")]
    fn the_systems_certificates_stay_trusted_when_the_environment_names_others() {
        if std::env::var(CHILD).is_ok() {
            let named = rustls_native_certs::load_native_certs().certs.len();
            assert_eq!(named, 1, "the loader takes the named file in the system's place");
            let system = system_bundle().map_or(0, |path| {
                Certificate::from_pem_bundle(&fs::read(path).unwrap()).unwrap().len()
            });
            assert_eq!(trusted(None).unwrap().len(), system + 1);
            return;
        }
        let certificate = rcgen::generate_simple_self_signed(["x.example".to_owned()]).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), certificate.cert.pem()).unwrap();
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .arg("--exact")
            .arg("roots::tests::the_systems_certificates_stay_trusted_when_the_environment_names_others")
            .env(CHILD, "1")
            .env("SSL_CERT_FILE", file.path())
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
    }
}
