//! The log, on stderr.

use std::{
    any::Any,
    io::{self, IsTerminal as _},
};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer as _, fmt, layer::SubscriberExt as _, registry, util::SubscriberInitExt as _,
};

use crate::{LogConfig, LogFormat, traces::Traces};

/// How many lines wait for whoever reads the log, at most.
const WAITING_LINES: usize = 10_000;

/// Sets up the log of this process, and its traces if there are any. A second call changes nothing.
///
/// Lines are written by a thread of their own: when nobody reads them, they are lost, and calls go on. Those that wait
/// are written when the guard is dropped.
#[must_use = "the last lines are written when it is dropped"]
pub(crate) fn init(config: &LogConfig, traces: Option<&Traces>) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES)
        .lossy(true)
        .thread_name("log")
        .finish(io::stderr());
    let lines = fmt::layer().with_writer(writer);
    let lines = match config.format {
        LogFormat::Human => lines.with_ansi(io::stderr().is_terminal()).with_target(false).boxed(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
    };
    // Each has a filter of its own: spans that only traces need are not in the log.
    let lines = lines.with_filter(EnvFilter::new(&config.filter));
    let set = registry().with(lines).with(traces.map(Traces::layer)).try_init();
    if set.is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let at = panic.location().map(ToString::to_string).unwrap_or_default();
            let said = told(panic.payload());
            tracing::error!(at, said, "a bug: the code panicked");
        }));
    }
    guard
}

/// What a panic may tell: text that stands in the code. Text that was put together then, as by `unwrap`, may hold a
/// value, and a value may be a secret.
fn told(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::panic;

    use super::*;

    #[test]
    fn a_panic_tells_what_stands_in_the_code_and_no_value() {
        fn told_by(code: impl FnOnce() + panic::UnwindSafe) -> &'static str {
            told(panic::catch_unwind(code).unwrap_err().as_ref())
        }

        let secret: Result<String, String> = Err("dapi-canary".to_owned());
        assert_eq!(told_by(|| panic!("no such step")), "no such step");
        assert_eq!(told_by(|| panic!("bad {secret:?}")), "");
        assert_eq!(told_by(|| drop(secret.clone().unwrap())), "");
    }
}
