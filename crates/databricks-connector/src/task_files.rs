//! The files that Flyte's runtime leaves under the output prefix: `error.pb` and `outputs.pb`.

mod object_stores;

use std::{fmt, pin::Pin};

use flyteidl2::core::{ContainerError, ErrorDocument};
use prost::Message as _;

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
) -> Looked<ContainerError> {
    match files.read(&below(output_prefix, "error.pb"), MAX_ERROR_BYTES).await {
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
pub(crate) async fn outputs_file(files: &dyn TaskFiles, output_prefix: &str) -> Looked<()> {
    files.exists(&below(output_prefix, "outputs.pb")).await
}

fn below(prefix: &str, name: &str) -> String {
    format!("{}/{name}", prefix.trim_end_matches('/'))
}
