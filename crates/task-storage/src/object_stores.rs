//! Files in object stores and on local disk, with credentials from the environment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use object_store::{Error, ObjectStore, ObjectStoreExt as _, path::Path};
use secrecy::SecretString;

use crate::{
    REQUEST_TIMEOUT, StorageError, StorageFuture, TaskStorage,
    clouds::{self, S3Override},
    url::StorageUrl,
};

/// Store clients that are cached, one per bucket.
const MAX_STORES: usize = 1_000;

/// Storage for URLs of the schemes `s3`, `s3a`, `gs`, `abfs`, `abfss` and `file`. All other URLs are rejected.
#[derive(Debug, Default)]
pub struct ObjectStores {
    s3_override: S3Override,
    allowed_buckets: Option<Vec<String>>,
    stores: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
}

impl ObjectStores {
    /// Creates stores with credentials from the environment, in the variables of each cloud's own tools.
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses an S3-compatible store, as Flyte's runtime does with `FLYTE_AWS_ENDPOINT` and its credentials.
    #[must_use]
    pub fn with_s3(
        mut self,
        endpoint: Option<String>,
        access_key_id: Option<SecretString>,
        secret_access_key: Option<SecretString>,
    ) -> Self {
        self.s3_override = S3Override { endpoint, access_key_id, secret_access_key };
        self
    }

    /// Restricts access to these buckets. Local files are then rejected too.
    #[must_use]
    pub fn with_allowed_buckets(mut self, buckets: Vec<String>) -> Self {
        self.allowed_buckets = Some(buckets);
        self
    }

    /// Returns the store of a URL, and the path within it. `region` overrides the environment's for S3.
    pub(crate) fn open(
        &self,
        url: &str,
        region: Option<&str>,
    ) -> Result<(Arc<dyn ObjectStore>, Path), StorageError> {
        let url = StorageUrl::parse(url).map_err(StorageError::Permanent)?;
        let bucket = url.bucket_name();
        if let Some(allowed) = &self.allowed_buckets
            && !allowed.iter().any(|name| name == bucket)
        {
            let message = format!("the bucket `{bucket}` is not in the list of allowed buckets");
            return Err(StorageError::Permanent(message));
        }
        let path =
            Path::parse(url.key).map_err(|error| StorageError::Permanent(error.to_string()))?;
        let key = format!("{}://{} {}", url.scheme, url.bucket, region.unwrap_or_default());
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(&key) {
            return Ok((Arc::clone(store), path));
        }
        if stores.len() >= MAX_STORES {
            stores.clear();
        }
        let store =
            clouds::open(&url, &self.s3_override, region).map_err(StorageError::Permanent)?;
        stores.insert(key, Arc::clone(&store));
        Ok((store, path))
    }
}

impl TaskStorage for ObjectStores {
    fn read<'a>(&'a self, url: &'a str, max_bytes: u64) -> StorageFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let (store, path) = self.open(url, None)?;
            let read = async {
                let file = store.get(&path).await?;
                if file.meta.size > max_bytes {
                    return Ok(None);
                }
                file.bytes().await.map(Some)
            };
            match found(url, within(REQUEST_TIMEOUT, "reading", url, read).await?)? {
                Some(Some(bytes)) => Ok(Some(bytes.to_vec())),
                Some(None) => {
                    let message = format!("{url} is larger than {max_bytes} bytes");
                    Err(StorageError::Permanent(message))
                }
                None => Ok(None),
            }
        })
    }

    fn size<'a>(&'a self, url: &'a str) -> StorageFuture<'a, Option<u64>> {
        Box::pin(async move {
            let (store, path) = self.open(url, None)?;
            let head = within(REQUEST_TIMEOUT, "checking", url, store.head(&path)).await?;
            Ok(found(url, head)?.map(|file| file.size))
        })
    }

    fn write<'a>(&'a self, url: &'a str, content: Vec<u8>) -> StorageFuture<'a, ()> {
        Box::pin(async move {
            let (store, path) = self.open(url, None)?;
            let put = store.put(&path, content.into());
            match within(REQUEST_TIMEOUT, "writing", url, put).await? {
                Ok(_written) => Ok(()),
                Err(error) => Err(storage_error("write", url, &error)),
            }
        })
    }
}

/// Bounds an operation in time.
pub(crate) async fn within<T>(
    timeout: Duration,
    operation: &str,
    url: &str,
    future: impl Future<Output = T>,
) -> Result<T, StorageError> {
    tokio::time::timeout(timeout, future).await.map_err(|_elapsed| {
        let seconds = timeout.as_secs();
        StorageError::Transient(format!("{operation} {url} took more than {seconds} s"))
    })
}

/// Converts the result of a read. A missing object is `None`.
pub(crate) fn found<T>(url: &str, read: Result<T, Error>) -> Result<Option<T>, StorageError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(storage_error("read", url, &error)),
    }
}

fn storage_error(operation: &str, url: &str, error: &Error) -> StorageError {
    let message = format!("cannot {operation} {url}: {error}");
    match error {
        Error::Generic { .. } | Error::JoinError { .. } => StorageError::Transient(message),
        _ => StorageError::Permanent(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn local_file_is_found_or_absent() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("error.pb"), b"12345").unwrap();
        let url = |name: &str| format!("file://{}/{name}", folder.path().display());
        let stores = ObjectStores::new();
        assert_eq!(stores.read(&url("error.pb"), 5).await, Ok(Some(b"12345".to_vec())));
        assert!(matches!(stores.read(&url("error.pb"), 4).await, Err(StorageError::Permanent(_))));
        assert_eq!(stores.read(&url("outputs.pb"), 5).await, Ok(None));
        assert_eq!(stores.size(&url("error.pb")).await, Ok(Some(5)));
        assert_eq!(stores.size(&url("outputs.pb")).await, Ok(None));
    }

    #[tokio::test]
    async fn write_replaces_the_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}/a/b/inputs.pb", folder.path().display());
        let stores = ObjectStores::new();
        for content in [b"longer".to_vec(), b"short".to_vec()] {
            assert_eq!(stores.write(&url, content.clone()).await, Ok(()));
            assert_eq!(stores.read(&url, 9).await, Ok(Some(content)));
        }
        let restricted = ObjectStores::new().with_allowed_buckets(vec!["mine".to_owned()]);
        for url in [url.as_str(), "s3://other/inputs.pb", "http://127.0.0.1/inputs.pb"] {
            let written = restricted.write(url, b"x".to_vec()).await;
            assert!(matches!(written, Err(StorageError::Permanent(_))), "{url}: {written:?}");
        }
        assert_eq!(stores.read(&url, 9).await, Ok(Some(b"short".to_vec())));
    }

    #[tokio::test]
    async fn unsupported_and_disallowed_urls_are_rejected() {
        let stores = ObjectStores::new().with_allowed_buckets(vec!["mine".to_owned()]);
        for url in [
            "http://127.0.0.1/error.pb",
            "https://127.0.0.1/error.pb",
            "memory:///error.pb",
            "/error.pb",
            "s3://",
            "s3:///key",
            "s3://other/error.pb",
            "abfs://other@account.dfs.core.windows.net/error.pb",
            "file:///etc/hostname",
        ] {
            assert!(matches!(stores.read(url, 5).await, Err(StorageError::Permanent(_))), "{url}");
        }
    }
}
