//! Logs on stderr and exported traces. Metrics are in `metrics`.

use std::{
    any::Any,
    io::{self, IsTerminal as _},
};

use tracing::span::Record;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    field::RecordFields,
    fmt::{
        self, FormatFields, FormattedFields,
        format::{DefaultFields, Writer},
    },
    layer::SubscriberExt as _,
    registry,
    util::SubscriberInitExt as _,
};

use crate::{
    args::LogFormat,
    config::{LogConfig, ServiceConfig},
    config_error::ConfigError,
    traces::Traces,
};

/// Buffered log lines. Further lines are dropped while stderr is stalled.
const BUFFERED_LINES: usize = 10_000;

/// The installed log and trace exporter. Dropping it flushes the log; [`Telemetry::shutdown`] flushes the spans too.
#[derive(Debug)]
#[must_use = "buffered log lines are written when it is dropped"]
pub struct Telemetry {
    traces: Option<Traces>,
    _log: WorkerGuard,
}

impl Telemetry {
    /// Installs the process-wide `tracing` subscriber and a panic hook. Keeps a subscriber that is already installed.
    ///
    /// A thread writes the log lines, so that calls never block on a stalled stderr reader.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if traces are enabled and cannot be exported.
    pub fn install(config: &ServiceConfig) -> Result<Self, ConfigError> {
        let traces = config.traces.then(|| Traces::start(config.crates)).transpose()?;
        let log = install_subscriber(&config.log, traces.as_ref());
        Ok(Self { traces, _log: log })
    }

    /// Exports the remaining spans, for two seconds at most, and flushes the log.
    pub async fn shutdown(self) {
        if let Some(traces) = self.traces {
            traces.shutdown().await;
        }
    }
}

fn install_subscriber(config: &LogConfig, traces: Option<&Traces>) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(BUFFERED_LINES)
        .lossy(true)
        .thread_name("log")
        .finish(io::stderr());
    let lines = fmt::layer().with_writer(writer);
    let lines = match config.format {
        LogFormat::Human => lines
            .fmt_fields(UniqueFields::default())
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .boxed(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
    };
    // Each layer has its own filter: spans that only traces need are not in the log.
    let lines = lines.with_filter(EnvFilter::new(&config.filter));
    let installed = registry().with(lines).with(traces.map(Traces::layer)).try_init();
    if installed.is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let location = panic.location().map(ToString::to_string).unwrap_or_default();
            let reason = Some(literal_message(panic.payload())).filter(|text| !text.is_empty());
            tracing::error!(location, reason, "bug: the code panicked");
        }));
    }
    guard
}

/// The human format of fields. A field of a span that is recorded again with the same value appears once.
#[derive(Debug, Default)]
struct UniqueFields(DefaultFields);

impl<'writer> FormatFields<'writer> for UniqueFields {
    fn format_fields<R: RecordFields>(
        &self,
        writer: Writer<'writer>,
        fields: R,
    ) -> std::fmt::Result {
        self.0.format_fields(writer, fields)
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> std::fmt::Result {
        let before = current.fields.len();
        if before > 0 {
            current.fields.push(' ');
        }
        self.0.format_fields(current.as_writer(), fields)?;
        let (present, added) = current.fields.split_at(before);
        if format!(" {present} ").contains(&format!(" {} ", added.trim_start())) {
            current.fields.truncate(before);
        }
        Ok(())
    }
}

/// Returns the panic's message if it is a literal of the source. A formatted message may contain a secret.
fn literal_message(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::panic;

    use super::*;

    #[test]
    fn field_recorded_twice_with_the_same_value_appears_once() {
        #[derive(Clone, Default)]
        struct Buffer(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
        impl io::Write for Buffer {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let lines = fmt::layer()
            .fmt_fields(UniqueFields::default())
            .with_writer(move || writer.clone())
            .with_ansi(false);
        tracing::subscriber::with_default(registry().with(lines), || {
            let fields = tracing::field::Empty;
            let span = tracing::info_span!("rpc", workspace = fields, run_id = fields);
            for (workspace, run_id) in [("a", 7), ("a", 7), ("a", 77), ("b", 7)] {
                span.record("workspace", workspace);
                span.record("run_id", run_id);
            }
            span.in_scope(|| tracing::info!("done"));
        });
        let line = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        let expected = r#"rpc{workspace="a" run_id=7 run_id=77 workspace="b"}"#;
        assert!(line.contains(expected), "{line}");
    }

    #[test]
    fn panic_log_contains_source_literals_and_no_values() {
        fn logged(code: impl FnOnce() + panic::UnwindSafe) -> &'static str {
            literal_message(panic::catch_unwind(code).unwrap_err().as_ref())
        }

        let secret: Result<String, String> = Err("dapi-canary".to_owned());
        assert_eq!(logged(|| panic!("no such step")), "no such step");
        assert_eq!(logged(|| panic!("bad {secret:?}")), "");
        assert_eq!(logged(|| drop(secret.clone().unwrap())), "");
    }
}
