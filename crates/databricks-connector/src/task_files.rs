//! The files under the output prefix: `error.pb` and `outputs.pb`, which Flyte's runtime leaves there, and `inputs.pb`,
//! which the connector writes for a pod template.

mod log_files;
mod object_stores;
mod opening;
mod place;

use std::{
    fmt,
    pin::Pin,
    time::{Duration, Instant},
};

use flyteidl2::{
    core::{ContainerError, ErrorDocument},
    task::Inputs,
};
use prost::Message as _;
use tracing::{Instrument as _, Span};

pub use log_files::{LogFile, LogFiles, S3Folder};
pub use object_stores::ObjectStores;

/// The largest error file that is read, in bytes.
pub(crate) const MAX_ERROR_BYTES: u64 = 1024 * 1024;

/// The largest file of inputs that is written, in bytes.
const MAX_INPUT_BYTES: usize = 10 * 1024 * 1024;

/// Between the tries to write the inputs.
const PAUSES: [Duration; 2] = [Duration::from_millis(300), Duration::from_millis(900)];

/// What came of looking for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked<T> {
    /// It is there.
    Found(T),
    /// It is not there.
    Absent,
    /// It could not be looked for, for a cause that passes.
    Passing(String),
    /// It cannot be looked for until somebody mends something.
    Lasting(String),
}

/// A look for a file, as it comes.
pub type Looking<'a, T> = Pin<Box<dyn Future<Output = Looked<T>> + Send + 'a>>;

/// Why a file was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwritten {
    /// For a cause that passes.
    Passing(String),
    /// It cannot be until somebody mends something.
    Lasting(String),
}

/// A file, as it is written.
pub type Writing<'a> = Pin<Box<dyn Future<Output = Result<(), Unwritten>> + Send + 'a>>;

/// Where the files are. An answer comes within two seconds, without further tries.
pub trait TaskFiles: fmt::Debug + Send + Sync {
    /// The content of a file of at most so many bytes.
    fn read<'a>(&'a self, url: &'a str, most: u64) -> Looking<'a, Vec<u8>>;

    /// Whether a file is there.
    fn exists<'a>(&'a self, url: &'a str) -> Looking<'a, ()>;

    /// Writes a whole file, in place of what is there. Nobody ever sees a part of it. Where files are only read, it is
    /// refused.
    fn write<'a>(&'a self, url: &'a str, _content: Vec<u8>) -> Writing<'a> {
        Box::pin(
            async move { Err(Unwritten::Lasting(format!("{url} is where files are only read"))) },
        )
    }
}

/// The error that Flyte's runtime wrote, if it wrote one.
pub(crate) async fn error_file(
    files: &dyn TaskFiles,
    output_prefix: &str,
    deadline: Option<Instant>,
) -> Looked<ContainerError> {
    let url = below(output_prefix, "error.pb");
    match in_time(files.read(&url, MAX_ERROR_BYTES), &url, deadline).await {
        Looked::Found(bytes) => match ErrorDocument::decode(bytes.as_slice()) {
            Ok(document) => Looked::Found(document.error.unwrap_or_default()),
            Err(error) => Looked::Lasting(format!("error.pb cannot be read: {error}")),
        },
        Looked::Absent => Looked::Absent,
        Looked::Passing(why) => Looked::Passing(why),
        Looked::Lasting(why) => Looked::Lasting(why),
    }
}

/// Whether Flyte's runtime wrote outputs.
pub(crate) async fn outputs_file(
    files: &dyn TaskFiles,
    output_prefix: &str,
    deadline: Option<Instant>,
) -> Looked<()> {
    let url = below(output_prefix, "outputs.pb");
    in_time(files.exists(&url), &url, deadline).await
}

/// Where the inputs of an attempt are written for it.
pub(crate) fn inputs_url(output_prefix: &str) -> String {
    below(output_prefix, "inputs.pb")
}

/// Writes the inputs of an attempt where [`inputs_url`] says. Another try of the same attempt writes the same.
pub(crate) async fn write_inputs(
    files: &dyn TaskFiles,
    output_prefix: &str,
    inputs: &Inputs,
    deadline: Option<Instant>,
) -> Result<(), Unwritten> {
    let url = inputs_url(output_prefix);
    let size = inputs.encoded_len();
    if size > MAX_INPUT_BYTES {
        return Err(Unwritten::Lasting(format!(
            "they have {size} bytes, more than the {MAX_INPUT_BYTES} that are written"
        )));
    }
    // Half of the time is left for the submission.
    let time = half_of_the_time(deadline);
    let writing = write_with_patience(files, &url, inputs.encode_to_vec(), time);
    let writing = tokio::time::timeout(time, writing).instrument(span("write", &url));
    writing.await.unwrap_or_else(|_| {
        Err(Unwritten::Passing(format!(
            "{url} was not written in the {:.1} s that there were",
            time.as_secs_f64()
        )))
    })
}

/// A refusal that passes is met with further tries, as an error costs the task an attempt (DESIGN §3.1). A pause that
/// would outlast the time is not made.
async fn write_with_patience(
    files: &dyn TaskFiles,
    url: &str,
    content: Vec<u8>,
    mut time: Duration,
) -> Result<(), Unwritten> {
    for pause in PAUSES {
        match files.write(url, content.clone()).await {
            Err(Unwritten::Passing(_)) if pause < time => {
                tokio::time::sleep(pause).await;
                time -= pause;
            }
            written => return written,
        }
    }
    files.write(url, content).await
}

/// Looks for no longer than the caller has time: an answer that comes too late is an error for Flyte, and an error is
/// worse than to be asked again (DESIGN §3.1). Half of the time is left for what else is to be read.
async fn in_time<T>(looking: Looking<'_, T>, url: &str, deadline: Option<Instant>) -> Looked<T> {
    let time = half_of_the_time(deadline);
    let looking = tokio::time::timeout(time, looking).instrument(span("read", url));
    looking.await.unwrap_or_else(|_| {
        Looked::Passing(format!(
            "{url} was not read in the {:.1} s that there were",
            time.as_secs_f64()
        ))
    })
}

/// The span of one look into a store, or of one write, for whoever collects traces: which store, and the file's name.
pub(crate) fn span(operation: &'static str, url: &str) -> Span {
    let (scheme, rest) = url.split_once("://").unwrap_or(("file", url));
    tracing::trace_span!(
        "storage",
        otel.kind = "client",
        otel.name = format!("{operation} {}", rest.rsplit('/').next().unwrap_or(rest)),
        storage.scheme = scheme,
        storage.bucket = rest.split('/').next().unwrap_or(rest),
    )
}

fn half_of_the_time(deadline: Option<Instant>) -> Duration {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    left.map_or(Duration::MAX, |left| left / 2)
}

fn below(prefix: &str, name: &str) -> String {
    format!("{}/{name}", prefix.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Takes a file after some refusals.
    #[derive(Debug)]
    struct Refusing(AtomicU32, Unwritten);

    impl TaskFiles for Refusing {
        fn read<'a>(&'a self, _url: &'a str, _most: u64) -> Looking<'a, Vec<u8>> {
            Box::pin(async { Looked::Absent })
        }

        fn exists<'a>(&'a self, _url: &'a str) -> Looking<'a, ()> {
            Box::pin(async { Looked::Absent })
        }

        fn write<'a>(&'a self, _url: &'a str, _content: Vec<u8>) -> Writing<'a> {
            let left = self.0.load(Ordering::Relaxed);
            self.0.store(left.saturating_sub(1), Ordering::Relaxed);
            Box::pin(async move { if left > 0 { Err(self.1.clone()) } else { Ok(()) } })
        }
    }

    /// What becomes of a write that is refused so often, and how many refusals were not needed.
    async fn written(refusals: u32, with: Unwritten) -> (Result<(), Unwritten>, u32) {
        let files = Refusing(AtomicU32::new(refusals), with);
        let written = write_inputs(&files, "s3://b/a0/1", &Inputs::default(), None).await;
        (written, files.0.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn inputs_are_tried_again_where_that_may_help() {
        let passing = Unwritten::Passing("slow down".to_owned());
        assert_eq!(written(2, passing.clone()).await, (Ok(()), 0));
        assert_eq!(written(9, passing.clone()).await, (Err(passing), 6));
        let lasting = Unwritten::Lasting("forbidden".to_owned());
        assert_eq!(written(9, lasting.clone()).await, (Err(lasting), 8));
    }
}
