//! Errors of the start.

use std::io;

/// Why an emulator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener could not be opened.
    #[error(
        "cannot listen for {scheme} on 127.0.0.1:{port}; choose another port, or 0 for a free one"
    )]
    Listen {
        /// `HTTP` or `HTTPS`.
        scheme: &'static str,
        /// The requested port.
        port: u16,
        /// The system error.
        source: io::Error,
    },
    /// The self-signed certificate could not be generated.
    #[error("cannot generate the self-signed certificate")]
    Certificate(#[source] rcgen::Error),
    /// TLS could not be configured with the certificate.
    #[error("cannot configure TLS with the self-signed certificate")]
    Tls(#[source] rustls::Error),
}
