//! Flags and environment variables of the gRPC port.

use std::{ffi::OsString, path::PathBuf};

use super::{Variable, path, text};
use crate::{config_error::NotText, transport::HealthAccess};

/// Flags of the gRPC port: TLS, authorization and limits.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "TLS, authorization and limits of the gRPC port")]
pub struct TransportArgs {
    /// Serve gRPC over TLS with this certificate chain, a PEM file [env: `FLYTE_CONNECTOR_TLS_CERT`].
    ///
    /// This and the other files of this section are reloaded when they change.
    #[arg(long, value_name = "FILE", global = true)]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the certificate, a PEM file [env: `FLYTE_CONNECTOR_TLS_KEY`].
    #[arg(long, value_name = "FILE", global = true)]
    pub tls_key: Option<PathBuf>,

    /// Require client certificates issued by these authorities, a PEM file [env: `FLYTE_CONNECTOR_TLS_CLIENT_CA`].
    #[arg(long, value_name = "FILE", global = true)]
    pub tls_client_ca: Option<PathBuf>,

    /// Confirm that plaintext is intentional; silences the warning.
    #[arg(long, global = true)]
    pub plaintext: bool,

    /// Require a bearer token listed in this file, one per line [env: `FLYTE_CONNECTOR_CALLER_TOKENS`].
    #[arg(long, value_name = "FILE", global = true)]
    pub caller_tokens: Option<PathBuf>,

    /// Require a client certificate with one of these DNS names or URIs, comma-separated
    /// [env: `FLYTE_CONNECTOR_CALLER_NAMES`].
    #[arg(long, value_name = "NAMES", global = true)]
    pub caller_names: Option<String>,

    /// Access to the gRPC health service.
    #[arg(long, value_name = "WHO", default_value = "open", global = true)]
    pub health: HealthAccess,

    /// Maximum number of concurrent calls.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = at_least_one(), global = true)]
    pub max_calls: u32,

    /// Maximum number of calls queued beyond --max-calls; further calls are rejected with a retry delay.
    #[arg(long, value_name = "N", default_value_t = 4000, global = true)]
    pub max_queued_calls: u32,

    /// Maximum number of open connections.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = at_least_one(), global = true)]
    pub max_connections: u32,

    /// Maximum size of one request.
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = at_least_one(), global = true)]
    pub max_message_mib: u32,

    /// Maximum memory of all decoded requests above 32 KiB; further requests are queued.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = at_least_one(), global = true)]
    pub max_requests_mib: u32,

    /// Age at which a connection is closed gracefully, ±10 %, so that clients find new replicas; 0 for never.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, global = true)]
    pub max_connection_age: u32,
}

/// From one to a million, so that no product of two values overflows.
fn at_least_one() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1_000_000)
}

const TLS_CERT: &str = "FLYTE_CONNECTOR_TLS_CERT";
const TLS_KEY: &str = "FLYTE_CONNECTOR_TLS_KEY";
const TLS_CLIENT_CA: &str = "FLYTE_CONNECTOR_TLS_CLIENT_CA";
const CALLER_TOKENS: &str = "FLYTE_CONNECTOR_CALLER_TOKENS";
const CALLER_NAMES: &str = "FLYTE_CONNECTOR_CALLER_NAMES";

/// The variables of the gRPC port, for the help text.
pub(super) const VARIABLES: [Variable; 5] = [
    Variable { name: TLS_CERT, help: "same as --tls-cert; the flag wins" },
    Variable { name: TLS_KEY, help: "same as --tls-key; the flag wins" },
    Variable { name: TLS_CLIENT_CA, help: "same as --tls-client-ca; the flag wins" },
    Variable {
        name: CALLER_TOKENS,
        help: "same as --caller-tokens: a file, not a token; the flag wins",
    },
    Variable { name: CALLER_NAMES, help: "same as --caller-names; the flag wins" },
];

/// The values of the gRPC port's environment variables.
#[derive(Debug, Clone, Default)]
pub struct TransportEnvironment {
    /// `FLYTE_CONNECTOR_TLS_CERT`.
    pub tls_cert: Option<PathBuf>,
    /// `FLYTE_CONNECTOR_TLS_KEY`.
    pub tls_key: Option<PathBuf>,
    /// `FLYTE_CONNECTOR_TLS_CLIENT_CA`.
    pub tls_client_ca: Option<PathBuf>,
    /// `FLYTE_CONNECTOR_CALLER_TOKENS`.
    pub caller_tokens: Option<PathBuf>,
    /// `FLYTE_CONNECTOR_CALLER_NAMES`.
    pub caller_names: Option<String>,
}

impl TransportEnvironment {
    pub(super) fn read_from(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, NotText> {
        Ok(Self {
            tls_cert: path(&get, TLS_CERT),
            tls_key: path(&get, TLS_KEY),
            tls_client_ca: path(&get, TLS_CLIENT_CA),
            caller_tokens: path(&get, CALLER_TOKENS),
            caller_names: text(&get, CALLER_NAMES)?,
        })
    }
}
