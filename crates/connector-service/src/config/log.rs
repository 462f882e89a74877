//! Format and filter of the log. A flag wins over its variable, and `RUST_LOG` over `LOG_LEVEL`.

use std::ffi::OsString;

use clap::ValueEnum as _;
use tracing_subscriber::EnvFilter;

use super::{ConfigError, LogConfig};
use crate::args::{LOG_FORMAT, LOG_LEVEL, LogFormat, RUST_LOG, text};

pub(super) const DEFAULT_FILTER: &str = "info";

/// Validates format and filter.
pub(super) fn config(
    flag: Option<LogFormat>,
    get: impl Fn(&str) -> Option<OsString>,
    crates: &[&str],
) -> Result<LogConfig, ConfigError> {
    let format = match (flag, text(&get, LOG_FORMAT)?) {
        (Some(format), _) => format,
        (None, None) => LogFormat::Human,
        (None, Some(text)) => LogFormat::from_str(&text, true).map_err(|_clap| {
            ConfigError::new(LOG_FORMAT.name, format!("`{text}` is neither human nor json"))
        })?,
    };
    let filter = match (text(&get, RUST_LOG)?, text(&get, LOG_LEVEL)?) {
        (Some(filter), _) => {
            EnvFilter::try_new(&filter).map_err(|error| {
                ConfigError::new(RUST_LOG.name, "is not a tracing filter").with_source(error)
            })?;
            filter
        }
        (None, Some(level)) => filter_of_level(&level, crates).ok_or_else(|| {
            let message =
                format!("`{level}` is none of DEBUG, INFO, WARNING, ERROR, CRITICAL, nor a number");
            ConfigError::new(LOG_LEVEL.name, message)
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
    use crate::config::tests::variables;

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
        let set = [(LOG_LEVEL, "ERROR"), (RUST_LOG, "h2=trace"), (LOG_FORMAT, "json")];
        let of = |flag| config(flag, variables(&set), &[]).unwrap();
        assert_eq!(of(None).filter, "h2=trace");
        assert_eq!(of(None).format, LogFormat::Json);
        assert_eq!(of(Some(LogFormat::Human)).format, LogFormat::Human);
    }

    #[test]
    fn invalid_value_names_the_variable() {
        let error = |set| config(None, variables(&[set]), &[]).unwrap_err();
        let level = error((LOG_LEVEL, "loud"));
        assert!(level.to_string().starts_with("LOG_LEVEL: `loud` is none of"), "{level}");
        let format = error((LOG_FORMAT, "xml"));
        assert_eq!(format.to_string(), "LOG_FORMAT: `xml` is neither human nor json");
        let filter = error((RUST_LOG, "a=b=c"));
        assert_eq!(filter.name(), "RUST_LOG");
    }
}
