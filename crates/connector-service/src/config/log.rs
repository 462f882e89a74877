//! Format and filter of the log. A flag wins over its variable, and `RUST_LOG` over `LOG_LEVEL`.

use clap::ValueEnum as _;
use tracing_subscriber::EnvFilter;

use super::{ConfigError, LogConfig};
use crate::args::{LOG_FORMAT, LOG_LEVEL, LogFormat, RUST_LOG, ServiceEnvironment};

pub(super) const DEFAULT_FILTER: &str = "info";

/// Validates format and filter.
pub(super) fn config(
    flag: Option<LogFormat>,
    environment: &ServiceEnvironment,
    crates: &[&str],
) -> Result<LogConfig, ConfigError> {
    let format = match (flag, environment.log_format.as_deref()) {
        (Some(format), _) => format,
        (None, None) => LogFormat::Human,
        (None, Some(text)) => LogFormat::from_str(text, true).map_err(|_clap| {
            ConfigError::new(LOG_FORMAT, format!("`{text}` is neither human nor json"))
        })?,
    };
    let filter = match (environment.rust_log.as_deref(), environment.log_level.as_deref()) {
        (Some(filter), _) => {
            EnvFilter::try_new(filter).map_err(|error| {
                ConfigError::new(RUST_LOG, "is not a tracing filter").with_source(error)
            })?;
            filter.to_owned()
        }
        (None, Some(level)) => filter_of_level(level, crates).ok_or_else(|| {
            let message =
                format!("`{level}` is none of DEBUG, INFO, WARNING, ERROR, CRITICAL, nor a number");
            ConfigError::new(LOG_LEVEL, message)
        })?,
        (None, None) => DEFAULT_FILTER.to_owned(),
    };
    Ok(LogConfig { format, filter })
}

/// Translates a Python log level into a filter. Levels below INFO apply to this workspace's crates only, because those of
/// HTTP and TLS are too verbose.
fn filter_of_level(level: &str, crates: &[&str]) -> Option<String> {
    let number: u32 = match level.to_ascii_uppercase().as_str() {
        "CRITICAL" | "FATAL" | "ERROR" => 40,
        "WARNING" | "WARN" => 30,
        "INFO" => 20,
        "DEBUG" => 10,
        "NOTSET" => 0,
        digits => digits.parse().ok()?,
    };
    let ours = |level: &str| {
        let all = ["connector_service", "connector_core"].iter().chain(crates);
        all.fold("info".to_owned(), |filter, name| format!("{filter},{name}={level}"))
    };
    Some(match number {
        31.. => "error".to_owned(),
        21..=30 => "warn".to_owned(),
        11..=20 => DEFAULT_FILTER.to_owned(),
        1..=10 => ours("debug"),
        0 => ours("trace"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_levels_become_filters() {
        for (level, filter) in [
            ("CRITICAL", "error"),
            ("error", "error"),
            ("WARNING", "warn"),
            ("warn", "warn"),
            ("30", "warn"),
            ("25", "warn"),
            ("INFO", "info"),
            ("20", "info"),
        ] {
            assert_eq!(filter_of_level(level, &[]).as_deref(), Some(filter), "{level}");
        }
        let filter = |level| filter_of_level(level, &["mine"]).unwrap();
        assert_eq!(filter("DEBUG"), "info,connector_service=debug,connector_core=debug,mine=debug");
        assert!(filter("NOTSET").contains("mine=trace"));
        assert_eq!(filter_of_level("loud", &[]), None);
    }

    #[test]
    fn rust_log_wins_over_log_level_and_the_flag_over_log_format() {
        let environment = ServiceEnvironment {
            log_level: Some("ERROR".to_owned()),
            rust_log: Some("h2=trace".to_owned()),
            log_format: Some("json".to_owned()),
            ..ServiceEnvironment::default()
        };
        let of = |flag| config(flag, &environment, &[]).unwrap();
        assert_eq!(of(None).filter, "h2=trace");
        assert_eq!(of(None).format, LogFormat::Json);
        assert_eq!(of(Some(LogFormat::Human)).format, LogFormat::Human);
    }

    #[test]
    fn invalid_value_names_the_variable() {
        let error = |environment| config(None, &environment, &[]).unwrap_err();
        let value = |text: &str| Some(text.to_owned());
        let environment = ServiceEnvironment::default;
        let level = error(ServiceEnvironment { log_level: value("loud"), ..environment() });
        assert!(level.to_string().starts_with("LOG_LEVEL: `loud` is none of"), "{level}");
        let format = error(ServiceEnvironment { log_format: value("xml"), ..environment() });
        assert_eq!(format.to_string(), "LOG_FORMAT: `xml` is neither human nor json");
        let filter = error(ServiceEnvironment { rust_log: value("a=b=c"), ..environment() });
        assert_eq!(filter.name(), "RUST_LOG");
    }
}
