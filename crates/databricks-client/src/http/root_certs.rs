//! Trusted root certificates: those of the system, and extra ones.

use std::{fs, path::Path};

use reqwest::Certificate;

use crate::{Error, ErrorKind};

/// Certificate bundles of Debian and Alpine, Fedora (two paths), SUSE, BSD and macOS.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Returns the certificates of the system, of `SSL_CERT_FILE` and `SSL_CERT_DIR`, and the given ones.
///
/// `rustls-native-certs` reads the variables instead of the system bundle, so the bundle is read here as well.
///
/// # Errors
///
/// `Config` if `extra_pem` contains no certificate, or if there are no certificates at all.
pub(crate) fn load(extra_pem: Option<&[u8]>) -> Result<Vec<Certificate>, Error> {
    // Skips certificates that rustls does not support.
    let bundle = system_bundle().and_then(|path| fs::read(path).ok()).unwrap_or_default();
    let mut certs = Certificate::from_pem_bundle(&bundle).unwrap_or_default();
    let native = rustls_native_certs::load_native_certs().certs;
    certs.extend(native.iter().filter_map(|der| Certificate::from_der(der).ok()));
    if let Some(pem) = extra_pem {
        let invalid = || {
            Error::new(ErrorKind::Config, "the extra root certificates are not certificates in PEM")
        };
        let extra = Certificate::from_pem_bundle(pem)
            .map_err(|error| invalid().with_source(error.without_url()))?;
        if extra.is_empty() {
            return Err(invalid());
        }
        certs.extend(extra);
    }
    if certs.is_empty() {
        return Err(Error::new(
            ErrorKind::Config,
            "no root certificates; install the ca-certificates package or configure extra ones",
        ));
    }
    Ok(certs)
}

fn system_bundle() -> Option<&'static Path> {
    BUNDLES.into_iter().map(Path::new).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_a_certificate_is_rejected() {
        for text in ["", "not pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
            let error = load(Some(text.as_bytes())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
        }
    }

    #[test]
    fn extra_certificates_do_not_replace_those_of_the_system() {
        let system = load(None).unwrap().len();
        // Any bundle works as the extra one. Without a system bundle there is nothing to test.
        if let Some(bundle) = system_bundle() {
            let pem = fs::read(bundle).unwrap();
            let extra = Certificate::from_pem_bundle(&pem).unwrap().len();
            assert_eq!(load(Some(&pem)).unwrap().len(), system + extra);
        }
    }

    /// Set only in the process that the test starts.
    const CHILD: &str = "DATABRICKS_CLIENT_TEST_ROOTS";

    #[test]
    #[expect(clippy::disallowed_methods, reason = "distinguishes the two processes of the test")]
    fn certificates_of_the_environment_do_not_replace_those_of_the_system() {
        if std::env::var(CHILD).is_ok() {
            let native = rustls_native_certs::load_native_certs().certs.len();
            assert_eq!(
                native, 1,
                "rustls-native-certs reads the file instead of the system bundle"
            );
            let system = system_bundle().map_or(0, |path| {
                Certificate::from_pem_bundle(&fs::read(path).unwrap()).unwrap().len()
            });
            assert_eq!(load(None).unwrap().len(), system + 1);
            return;
        }
        let certificate = rcgen::generate_simple_self_signed(["x.example".to_owned()]).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), certificate.cert.pem()).unwrap();
        let name = "certificates_of_the_environment_do_not_replace_those_of_the_system";
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .arg("--exact")
            .arg(format!("http::root_certs::tests::{name}"))
            .env(CHILD, "1")
            .env("SSL_CERT_FILE", file.path())
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}");
    }
}
