//! Flags of the gRPC port.

use std::path::PathBuf;

use crate::transport::HealthAccess;

/// Flags of the gRPC port: TLS, authorization and limits.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "TLS, authorization and limits of the gRPC port")]
#[non_exhaustive]
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
