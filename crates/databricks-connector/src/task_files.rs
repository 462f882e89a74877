//! The files that Flyte's runtime leaves under the output prefix: `error.pb` and `outputs.pb`.

mod log_files;
mod object_stores;
mod opening;
mod place;

use std::{
    fmt,
    pin::Pin,
    time::{Duration, Instant},
};

use flyteidl2::core::{ContainerError, ErrorDocument};
use prost::Message as _;

pub use log_files::{LogFile, LogFiles, S3Folder};
pub use object_stores::ObjectStores;

/// The largest error file that is read, in bytes.
pub(crate) const MAX_ERROR_BYTES: u64 = 1024 * 1024;

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

/// Where the files are. An answer comes within two seconds, without further tries.
pub trait TaskFiles: fmt::Debug + Send + Sync {
    /// The content of a file of at most so many bytes.
    fn read<'a>(&'a self, url: &'a str, most: u64) -> Looking<'a, Vec<u8>>;

    /// Whether a file is there.
    fn exists<'a>(&'a self, url: &'a str) -> Looking<'a, ()>;
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

/// Looks for no longer than the caller has time: an answer that comes too late is an error for Flyte, and an error is
/// worse than to be asked again (DESIGN §3.1). Half of the time is left for what else is to be read.
async fn in_time<T>(looking: Looking<'_, T>, url: &str, deadline: Option<Instant>) -> Looked<T> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let time = left.map_or(Duration::MAX, |left| left / 2);
    tokio::time::timeout(time, looking).await.unwrap_or_else(|_| {
        Looked::Passing(format!(
            "{url} was not read in the {:.1} s that there were",
            time.as_secs_f64()
        ))
    })
}

fn below(prefix: &str, name: &str) -> String {
    format!("{}/{name}", prefix.trim_end_matches('/'))
}
