//! The log, on stderr.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, fmt};

use crate::{LogConfig, LogFormat};

/// Sets up the log of this process. A second call changes nothing.
pub(crate) fn init(config: &LogConfig) {
    let filter = EnvFilter::new(&config.filter);
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr);
    let set = match config.format {
        LogFormat::Human => {
            lines.with_ansi(io::stderr().is_terminal()).with_target(false).try_init()
        }
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init(),
    };
    if set.is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let at = panic.location().map(ToString::to_string).unwrap_or_default();
            let payload = panic.payload();
            let said = payload.downcast_ref::<&str>().copied();
            let said = said
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                .unwrap_or_default();
            tracing::error!(at, said, "a bug: the code panicked");
        }));
    }
}
