//! Command-line flags and environment variables that every connector server has.
//!
//! [`ServiceArgs`] is a clap group to flatten into a program's own arguments, and [`ServiceEnvironment`] holds the
//! variables. Both are only parsed here; [`ServiceConfig::new`](crate::ServiceConfig::new) validates them. Flags of a
//! particular connector belong to the program.

use std::{ffi::OsString, path::PathBuf};

use clap::ValueEnum;

use crate::{config_error::NotText, traces};

mod observability;
mod transport;

pub use observability::ObservabilityArgs;
pub(crate) use observability::STATUS;
pub use transport::{TransportArgs, TransportEnvironment};

/// The generic flags of a connector server. Flags win over environment variables.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Server")]
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

pub(crate) const LOG_FORMAT: &str = "LOG_FORMAT";
pub(crate) const LOG_LEVEL: &str = "LOG_LEVEL";
pub(crate) const RUST_LOG: &str = "RUST_LOG";

/// The variables that [`ServiceEnvironment::read`] reads, in the order of the help text.
pub const VARIABLES: [Variable; 10] = [
    transport::VARIABLES[0],
    transport::VARIABLES[1],
    transport::VARIABLES[2],
    transport::VARIABLES[3],
    transport::VARIABLES[4],
    observability::VARIABLE,
    Variable {
        name: "OTEL_*",
        help: "destination of traces, by the standard names such as OTEL_EXPORTER_OTLP_ENDPOINT; requires a build with `--features otel`",
    },
    Variable { name: LOG_FORMAT, help: "human or json; --log-format wins" },
    Variable {
        name: LOG_LEVEL,
        help: "as in Python, a name or a number, such as WARNING or 30 [default: INFO]",
    },
    Variable { name: RUST_LOG, help: "tracing filter; wins over LOG_LEVEL" },
];

/// The values of the generic environment variables, not yet validated.
#[derive(Debug, Clone, Default)]
pub struct ServiceEnvironment {
    /// Variables of the gRPC port.
    pub transport: TransportEnvironment,
    /// True if `OTEL_*` enable traces.
    pub traces: bool,
    /// `FLYTE_CONNECTOR_STATUS`.
    pub status: Option<String>,
    /// `LOG_FORMAT`.
    pub log_format: Option<String>,
    /// `LOG_LEVEL`.
    pub log_level: Option<String>,
    /// `RUST_LOG`.
    pub rust_log: Option<String>,
}

impl ServiceEnvironment {
    /// Reads the variables of this process.
    ///
    /// # Errors
    ///
    /// As [`Self::read_from`].
    pub fn read() -> Result<Self, NotText> {
        Self::read_from(|name| std::env::var_os(name))
    }

    /// Reads the variables through `get`. Surrounding whitespace is dropped; an empty value counts as unset.
    ///
    /// # Errors
    ///
    /// [`NotText`] if a value other than a path is not valid UTF-8.
    pub fn read_from(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, NotText> {
        Ok(Self {
            transport: TransportEnvironment::read_from(&get)?,
            traces: traces::are_enabled(|name| get(name)?.into_string().ok()),
            status: text(&get, STATUS)?,
            log_format: text(&get, LOG_FORMAT)?,
            log_level: text(&get, LOG_LEVEL)?,
            rust_log: text(&get, RUST_LOG)?,
        })
    }
}

/// Reads a text variable, trimmed. None if unset or blank.
///
/// # Errors
///
/// [`NotText`] if the value is not valid UTF-8.
pub fn text(
    get: impl Fn(&str) -> Option<OsString>,
    name: &'static str,
) -> Result<Option<String>, NotText> {
    let Some(value) = get(name) else { return Ok(None) };
    let value = value.to_str().map(str::trim).ok_or(NotText { name })?;
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

/// Reads a path variable, which need not be UTF-8. None if unset or empty.
pub fn path(get: impl Fn(&str) -> Option<OsString>, name: &str) -> Option<PathBuf> {
    get(name).filter(|path| !path.is_empty()).map(PathBuf::from)
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
        let environment = ServiceEnvironment::read_from(|name| {
            Some(OsString::from(match name {
                LOG_LEVEL => " DEBUG\n",
                _ => " \n",
            }))
        })
        .unwrap();
        assert_eq!(environment.log_level.as_deref(), Some("DEBUG"));
        assert!(environment.log_format.is_none());
    }
}
