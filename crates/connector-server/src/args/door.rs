//! Flags and variables of the gRPC port's door.

use std::path::PathBuf;

use clap::ValueEnum;

use super::{NotText, Variable};

/// The flags of the gRPC port's door.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Who may call, and how much")]
pub struct DoorArgs {
    /// Serve gRPC over TLS with this certificate chain, a PEM file [env: `FLYTE_CONNECTOR_TLS_CERT`].
    ///
    /// Read again when it changes, as are the other files here.
    #[arg(long, value_name = "FILE", global = true)]
    pub tls_cert: Option<PathBuf>,

    /// The private key of that certificate, a PEM file [env: `FLYTE_CONNECTOR_TLS_KEY`].
    #[arg(long, value_name = "FILE", global = true)]
    pub tls_key: Option<PathBuf>,

    /// Refuse clients without a certificate of these authorities, a PEM file [env: `FLYTE_CONNECTOR_TLS_CLIENT_CA`].
    #[arg(long, value_name = "FILE", global = true)]
    pub tls_client_ca: Option<PathBuf>,

    /// Say that serving without TLS is meant, so that no warning is logged.
    #[arg(long, global = true)]
    pub plaintext: bool,

    /// Serve only callers with a bearer token of this file, one a line [env: `FLYTE_CONNECTOR_CALLER_TOKENS`].
    #[arg(long, value_name = "FILE", global = true)]
    pub caller_tokens: Option<PathBuf>,

    /// Serve only callers whose certificate has one of these DNS names or URIs, comma-separated
    /// [env: `FLYTE_CONNECTOR_CALLER_NAMES`].
    #[arg(long, value_name = "NAMES", global = true)]
    pub caller_names: Option<String>,

    /// Who may ask the gRPC health service.
    #[arg(long, value_name = "WHO", default_value = "open", global = true)]
    pub health: Health,

    /// How many calls run at once.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = at_least_one(), global = true)]
    pub max_calls: u32,

    /// How many more wait for their turn; those beyond are refused and told when to come back.
    #[arg(long, value_name = "N", default_value_t = 4000, global = true)]
    pub max_queued_calls: u32,

    /// How many connections are open at once.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = at_least_one(), global = true)]
    pub max_connections: u32,

    /// The largest request.
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = at_least_one(), global = true)]
    pub max_message_mib: u32,

    /// The memory of all requests above 32 KiB, decoded; those beyond wait for their turn.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = at_least_one(), global = true)]
    pub max_requests_mib: u32,

    /// When a connection is asked to go, give or take a tenth, so that clients find new replicas; 0 for never.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, global = true)]
    pub max_connection_age: u32,
}

/// At most a million, so that no product of two overflows.
fn at_least_one() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1_000_000)
}

/// Who may ask the gRPC health service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Health {
    /// Everybody who can connect.
    #[default]
    Open,
    /// Those who may call.
    Callers,
    /// Nobody.
    Off,
}

const TLS_CERT: &str = "FLYTE_CONNECTOR_TLS_CERT";
const TLS_KEY: &str = "FLYTE_CONNECTOR_TLS_KEY";
const TLS_CLIENT_CA: &str = "FLYTE_CONNECTOR_TLS_CLIENT_CA";
const CALLER_TOKENS: &str = "FLYTE_CONNECTOR_CALLER_TOKENS";
const CALLER_NAMES: &str = "FLYTE_CONNECTOR_CALLER_NAMES";

/// The variables of the door. A flag wins over its variable.
pub(super) const VARIABLES: [Variable; 5] = [
    Variable { name: TLS_CERT, help: "as --tls-cert" },
    Variable { name: TLS_KEY, help: "as --tls-key" },
    Variable { name: TLS_CLIENT_CA, help: "as --tls-client-ca" },
    Variable { name: CALLER_TOKENS, help: "as --caller-tokens: a file, not a token" },
    Variable { name: CALLER_NAMES, help: "as --caller-names" },
];

/// The variables of the door, as they were set.
#[derive(Debug, Clone, Default)]
pub struct DoorEnvironment {
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

impl DoorEnvironment {
    pub(super) fn read(
        text: impl Fn(&'static str) -> Result<Option<String>, NotText>,
        path: impl Fn(&'static str) -> Option<PathBuf>,
    ) -> Result<Self, NotText> {
        Ok(Self {
            tls_cert: path(TLS_CERT),
            tls_key: path(TLS_KEY),
            tls_client_ca: path(TLS_CLIENT_CA),
            caller_tokens: path(CALLER_TOKENS),
            caller_names: text(CALLER_NAMES)?,
        })
    }
}
