//! The error that ends a program: one line for the terminal and an exit code.

use std::{error::Error as StdError, fmt, process::ExitCode};

use connector_core::RegistryError;

use crate::{
    config_error::ConfigError, error_chain::error_chain, listen::BindError, signals::ShutdownSignal,
};

/// `EX_USAGE` of sysexits.h: a flag or variable must be changed.
const USAGE: u8 = 64;

/// A fatal error of a program. Displays as one line.
#[derive(Debug)]
pub struct Failure {
    line: String,
    exit_code: u8,
}

impl Failure {
    /// A failure with exit code 1. The line holds the error and its causes.
    pub fn new(error: &dyn StdError) -> Self {
        Self::from_line(error_chain(error))
    }

    /// A failure with exit code 1.
    pub fn from_line(line: impl Into<String>) -> Self {
        Self { line: line.into(), exit_code: 1 }
    }

    /// A command line that clap rejected. The line includes possible values and similar flags.
    pub fn usage(error: &clap::Error) -> Self {
        let text = error.to_string();
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let mut line =
            first.strip_prefix("error: ").unwrap_or(first).trim_end_matches('.').to_owned();
        for more in lines.take_while(|more| !more.starts_with("Usage:")).map(str::trim) {
            if more.starts_with('[') {
                line = format!("{line} {more}");
            } else if let Some(tip) = more.strip_prefix("tip: ") {
                line = format!("{line}; {tip}");
            }
        }
        Self { line: format!("{line}; try --help"), exit_code: USAGE }
    }

    /// A second signal during shutdown.
    pub(crate) fn interrupted(signal: ShutdownSignal) -> Self {
        let line = format!(
            "shutdown aborted by a second signal, {}: in-flight calls were cut off",
            signal.name()
        );
        Self { line, exit_code: signal.exit_code() }
    }

    /// Returns 64 for invalid configuration, 128 plus the signal's number after a second signal, otherwise 1.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// Prints the line to stderr, after the name of the program. Returns the exit code.
    #[expect(clippy::print_stderr, reason = "the last line of a program that failed")]
    pub fn report(&self, program: &str) -> ExitCode {
        eprintln!("{program}: {self}");
        ExitCode::from(self.exit_code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl StdError for Failure {}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { line: error_chain(&error), exit_code: USAGE }
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        let exit_code = if matches!(error, BindError::Host { .. }) { USAGE } else { 1 };
        Self { line: error_chain(&error), exit_code }
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self::new(&error)
    }
}
