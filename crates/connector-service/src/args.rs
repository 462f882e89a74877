//! Command-line flags and environment variables that every connector server has.
//!
//! [`ServiceArgs`] is a clap group to flatten into a program's own arguments, and [`VARIABLES`] lists the variables.
//! [`ServiceConfig::new`](crate::ServiceConfig::new) validates both. Flags of a particular connector belong to the program.
//!
//! clap does not read the variables: an empty one counts as unset, and tests inject their own.

use std::{ffi::OsString, fmt::Write as _, path::PathBuf};

use clap::ValueEnum;

use crate::config_error::ConfigError;

mod observability;
mod transport;

pub use observability::ObservabilityArgs;
pub use transport::TransportArgs;

/// The generic flags of a connector server. Flags win over environment variables.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Server")]
#[non_exhaustive]
pub struct ServiceArgs {
    /// Port for gRPC.
    #[arg(long, value_name = "PORT", default_value_t = 8000, global = true)]
    pub port: u16,

    /// Port for Prometheus metrics, /livez and /readyz.
    #[arg(
        long,
        visible_alias = "prometheus_port",
        value_name = "PORT",
        default_value_t = 9090,
        global = true
    )]
    pub prometheus_port: u16,

    /// Interface to listen on, as an address or a name [default: all, IPv4 and IPv6].
    #[arg(long, value_name = "HOST", global = true)]
    pub host: Option<String>,

    /// Exit with code 0 after this many seconds.
    #[arg(long, value_name = "SECONDS", global = true)]
    pub timeout: Option<u64>,

    /// Format of log lines [env: `LOG_FORMAT`] [default: human].
    #[arg(long, value_name = "FORMAT", global = true)]
    pub log_format: Option<LogFormat>,

    /// Disable gRPC reflection.
    #[arg(long, global = true)]
    pub no_reflection: bool,

    /// Delay before a run is cancelled if Flyte received an error for its creation.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, global = true)]
    pub abandon_grace: u64,

    /// Deadline of calls whose caller sets none.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1_000_000), global = true)]
    pub call_timeout: u32,

    /// Ignored; accepted for compatibility with `c0`.
    #[arg(long, value_name = "N", global = true)]
    pub worker: Option<u32>,

    /// Ignored; accepted for compatibility with `c0`. Repeatable, or several names after one flag.
    #[arg(long, value_name = "MODULE", num_args = 1.., global = true)]
    pub modules: Vec<String>,

    // The groups with a heading of their own come last: clap lists a flag under the most recent heading.
    /// TLS, authorization and limits of the gRPC port.
    #[command(flatten)]
    pub transport: TransportArgs,

    /// Pages of the HTTP port.
    #[command(flatten)]
    pub observability: ObservabilityArgs,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Human-readable text.
    #[value(alias = "console")]
    Human,
    /// One JSON object per line.
    Json,
}

/// An environment variable, for the help text.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// The name.
    pub name: &'static str,
    /// What the variable does.
    pub help: &'static str,
}

/// Defines constants of type [`Variable`], and the list of all in this order.
#[macro_export]
macro_rules! variables {
    ($(#[$doc:meta])* $visibility:vis $all:ident; $($constant:ident = $name:literal, $help:literal;)*) => {
        $(pub(crate) const $constant: $crate::args::Variable =
            $crate::args::Variable { name: $name, help: $help };)*
        $(#[$doc])*
        $visibility const $all: &[$crate::args::Variable] = &[$($constant),*];
    };
}

variables! {
    /// The variables of every connector server, in the order of the help text.
    pub VARIABLES;
    TLS_CERT = "FLYTE_CONNECTOR_TLS_CERT", "same as --tls-cert; the flag wins";
    TLS_KEY = "FLYTE_CONNECTOR_TLS_KEY", "same as --tls-key; the flag wins";
    TLS_CLIENT_CA = "FLYTE_CONNECTOR_TLS_CLIENT_CA", "same as --tls-client-ca; the flag wins";
    CALLER_TOKENS = "FLYTE_CONNECTOR_CALLER_TOKENS",
        "same as --caller-tokens: a file, not a token; the flag wins";
    CALLER_NAMES = "FLYTE_CONNECTOR_CALLER_NAMES", "same as --caller-names; the flag wins";
    STATUS = "FLYTE_CONNECTOR_STATUS", "true serves /status; --status wins [default: false]";
    OTEL = "OTEL_*",
        "destination of traces, by the standard names such as OTEL_EXPORTER_OTLP_ENDPOINT; requires a build with `--features otel`";
    LOG_FORMAT = "LOG_FORMAT", "human or json; --log-format wins";
    LOG_LEVEL = "LOG_LEVEL", "as in Python, a name or a number, such as WARNING or 30 [default: INFO]";
    RUST_LOG = "RUST_LOG", "tracing filter; wins over LOG_LEVEL";
}

/// Returns a section of `--help` that lists variables: the program's own, and [`VARIABLES`].
///
/// ```
/// use connector_service::args::{VARIABLES, variables_help};
///
/// connector_service::variables! {
///     /// The variables of this program.
///     OWN;
///     REGION = "MY_CONNECTOR_REGION", "region of the jobs";
/// }
///
/// #[derive(clap::Parser)]
/// #[command(after_help = variables_help(OWN.iter().chain(VARIABLES)))]
/// struct Args {}
/// # assert!(variables_help(OWN).contains("  MY_CONNECTOR_REGION\n          region of the jobs\n"));
/// # assert_eq!(REGION.name, "MY_CONNECTOR_REGION");
/// ```
pub fn variables_help<'a>(variables: impl IntoIterator<Item = &'a Variable>) -> String {
    let mut help = "Environment:\n".to_owned();
    for Variable { name, help: text } in variables {
        // Writing to a String cannot fail.
        let _never = writeln!(help, "  {name}\n          {text}");
    }
    help
}

/// Reads a text variable, trimmed. None if unset or blank.
///
/// # Errors
///
/// [`ConfigError`] if the value is not valid UTF-8. It may be a secret, so the error does not contain it.
pub fn text(
    get: impl Fn(&str) -> Option<OsString>,
    Variable { name, .. }: Variable,
) -> Result<Option<String>, ConfigError> {
    let Some(value) = get(name) else { return Ok(None) };
    let value = value.to_str().ok_or_else(|| ConfigError::new(name, "is not valid UTF-8"))?.trim();
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

/// Reads a path variable, which need not be UTF-8. None if unset or empty.
pub fn path(get: impl Fn(&str) -> Option<OsString>, variable: Variable) -> Option<PathBuf> {
    get(variable.name).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Splits at commas, trims, and drops empty entries.
pub fn comma_separated(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        service: ServiceArgs,
    }

    #[test]
    fn group_is_well_formed_as_a_program_of_its_own() {
        Program::command().debug_assert();
        assert_eq!(Program::parse_from(["x", "--port", "7"]).service.port, 7);
    }

    #[test]
    fn lists_are_split_at_commas() {
        assert_eq!(comma_separated(" a.example:443, ,*.b ,"), ["a.example:443", "*.b"]);
    }

    #[test]
    fn blank_variables_count_as_unset_and_values_are_trimmed() {
        let get = |name: &str| Some(if name == LOG_LEVEL.name { " DEBUG\n" } else { " \n" }.into());
        assert_eq!(text(get, LOG_LEVEL).unwrap().as_deref(), Some("DEBUG"));
        assert!(text(get, LOG_FORMAT).unwrap().is_none());
    }
}
