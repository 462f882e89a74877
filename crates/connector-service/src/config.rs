//! The validated configuration of the server.

use std::{ffi::OsString, time::Duration};

use crate::{
    args::{LogFormat, STATUS, ServiceArgs, text},
    config_error::ConfigError,
    traces,
    transport::{Callers, HealthAccess, Limits, Tls},
};

mod log;
mod observability;
mod transport;

/// Configuration of a [`Server`](crate::Server). Every value of these types is valid.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
pub struct ServiceConfig {
    /// Interface to listen on, as an address or a name. None: all interfaces, IPv4 and IPv6.
    pub host: Option<String>,
    /// Port for gRPC; 0 picks a free one.
    pub grpc_port: u16,
    /// Port for Prometheus metrics, /livez and /readyz; 0 picks a free one.
    pub prometheus_port: u16,
    /// Serves gRPC reflection.
    pub reflection: bool,
    /// Deadline of calls without a `grpc-timeout` header.
    pub default_timeout: Duration,
    /// TLS of the gRPC port. None: plaintext.
    pub tls: Option<Tls>,
    /// Confirms that plaintext is intentional; silences the warning.
    pub plaintext: bool,
    /// Authorized callers.
    pub callers: Callers,
    /// Access to the gRPC health service.
    pub health: HealthAccess,
    /// Limits of the gRPC port.
    pub limits: Limits,
    /// Interval at which certificate and token files are checked for changes.
    pub reload_every: Duration,
    /// Time that an orphaned task creation is kept before it is cancelled.
    pub abandon_grace: Duration,
    /// Time that in-flight calls have to finish during shutdown.
    pub drain_grace: Duration,
    /// Part of that time to wait for a last metrics scrape.
    pub last_scrape: Duration,
    /// Serves `/status`.
    pub status: bool,
    /// Shuts down after this time. None: runs until a signal.
    pub stop_after: Option<Duration>,
    /// The log.
    pub log: LogConfig,
    /// Exports traces as configured by `OTEL_*`.
    pub traces: bool,
    /// Crates whose spans are exported, beside `connector_core` and `connector_service`.
    pub crates: &'static [&'static str],
    /// Flags that were given and have no effect.
    pub ignored_flags: Vec<&'static str>,
}

/// Configuration of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Format of the lines.
    pub format: LogFormat,
    /// Lines to write, as a `tracing` filter.
    pub filter: String,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            host: None,
            grpc_port: 8000,
            prometheus_port: 9090,
            reflection: true,
            default_timeout: Duration::from_mins(1),
            tls: None,
            plaintext: false,
            callers: Callers::default(),
            health: HealthAccess::default(),
            limits: Limits::default(),
            reload_every: Duration::from_secs(5),
            abandon_grace: Duration::from_secs(30),
            // Below the 30 s after which Kubernetes kills the pod.
            drain_grace: Duration::from_secs(25),
            // A usual scrape interval.
            last_scrape: Duration::from_secs(15),
            status: false,
            stop_after: None,
            log: LogConfig::default(),
            traces: false,
            crates: &[],
            ignored_flags: Vec::new(),
        }
    }
}

impl Default for LogConfig {
    /// INFO and above, as text.
    fn default() -> Self {
        Self { format: LogFormat::Human, filter: log::DEFAULT_FILTER.to_owned() }
    }
}

impl ServiceConfig {
    /// Validates the flags and this process's environment variables, as [`Self::new`].
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first value that cannot be used.
    pub fn from_env(
        args: &ServiceArgs,
        crates: &'static [&'static str],
    ) -> Result<Self, ConfigError> {
        Self::new(args, |name| std::env::var_os(name), crates)
    }

    /// Validates the flags and the variables that `get` returns. Reads the TLS and token files that they name.
    ///
    /// `crates` are the crates of the program (such as `"my_connector"`) whose debug logs `LOG_LEVEL` enables and whose
    /// spans are exported.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first value that cannot be used.
    pub fn new(
        args: &ServiceArgs,
        get: impl Fn(&str) -> Option<OsString>,
        crates: &'static [&'static str],
    ) -> Result<Self, ConfigError> {
        if args.port != 0 && args.port == args.prometheus_port {
            let message = format!("{} is also the value of --port", args.port);
            return Err(ConfigError::new("--prometheus-port", message));
        }
        let host = args.host.as_deref().map(str::trim).filter(|host| !host.is_empty());
        let mut ignored_flags = Vec::new();
        if args.worker.is_some() {
            ignored_flags.push("--worker");
        }
        if !args.modules.is_empty() {
            ignored_flags.push("--modules");
        }
        Ok(Self {
            host: host.map(str::to_owned),
            grpc_port: args.port,
            prometheus_port: args.prometheus_port,
            reflection: !args.no_reflection,
            default_timeout: Duration::from_secs(args.call_timeout.into()),
            tls: transport::tls(&args.transport, &get)?,
            plaintext: args.transport.plaintext,
            callers: transport::callers(&args.transport, &get)?,
            health: args.transport.health,
            limits: transport::limits(&args.transport)?,
            abandon_grace: Duration::from_secs(args.abandon_grace),
            last_scrape: Duration::from_secs(args.observability.last_scrape.into()),
            status: observability::status(&args.observability, text(&get, STATUS)?.as_deref())?,
            stop_after: args.timeout.map(Duration::from_secs),
            log: log::config(args.log_format, &get, crates)?,
            traces: traces::are_enabled(|name| get(name)?.into_string().ok()),
            crates,
            ignored_flags,
            ..Self::default()
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Variable;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        service: ServiceArgs,
    }

    pub(crate) fn args(line: &str) -> ServiceArgs {
        Program::parse_from(std::iter::once("x").chain(line.split_whitespace())).service
    }

    pub(crate) fn variables(set: &[(Variable, &str)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| {
            let found = set.iter().find(|(variable, _)| variable.name == name);
            found.map(|(_, value)| OsString::from(value))
        }
    }

    fn config(line: &str) -> Result<ServiceConfig, ConfigError> {
        ServiceConfig::new(&args(line), variables(&[]), &[])
    }

    #[test]
    fn no_flags_give_the_ports_of_c0_on_all_interfaces() {
        let config = config("").unwrap();
        assert_eq!((config.grpc_port, config.prometheus_port), (8000, 9090));
        assert_eq!(config.host, None);
        assert!(config.reflection);
        assert_eq!(config.log, LogConfig::default());
        assert!(config.ignored_flags.is_empty());
    }

    #[test]
    fn the_two_ports_differ_unless_both_are_free_choices() {
        let error = config("--port 9090").unwrap_err();
        assert_eq!(error.to_string(), "--prometheus-port: 9090 is also the value of --port");
        assert!(config("--port 0 --prometheus-port 0").is_ok());
    }

    #[test]
    fn flags_without_effect_are_recorded() {
        let config = config("--worker 3 --modules a b").unwrap();
        assert_eq!(config.ignored_flags, ["--worker", "--modules"]);
    }
}
