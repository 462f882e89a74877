//! Files in object stores and on disk, with credentials from the environment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use object_store::{Error, ObjectStore, ObjectStoreExt as _, path::Path};
use secrecy::SecretString;

use super::{
    Looked, Looking, TaskFiles, Unwritten, Writing,
    opening::{self, OwnS3},
    place::Place,
};

/// How long a look may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How many buckets keep a store of their own.
const MAX_STORES: usize = 1_000;

/// Files in object stores and on disk. `s3`, `s3a`, `gs`, `abfs`, `abfss` and `file` are read, nothing else is.
#[derive(Debug, Default)]
pub struct ObjectStores {
    own_s3: OwnS3,
    buckets: Option<Vec<String>>,
    stores: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
}

impl ObjectStores {
    /// Stores with credentials from the environment, as each cloud's own tools take them.
    pub fn new() -> Self {
        Self::default()
    }

    /// An S3 that is not Amazon's, as Flyte's runtime takes it from `FLYTE_AWS_ENDPOINT` and its kin.
    #[must_use]
    pub fn with_s3(
        mut self,
        endpoint: Option<String>,
        access_key_id: Option<SecretString>,
        secret_access_key: Option<SecretString>,
    ) -> Self {
        self.own_s3 = OwnS3 { endpoint, access_key_id, secret_access_key };
        self
    }

    /// Reads these buckets alone. A folder on disk is no bucket and is not read then.
    #[must_use]
    pub fn only(mut self, buckets: Vec<String>) -> Self {
        self.buckets = Some(buckets);
        self
    }

    fn find(&self, url: &str) -> Result<(Arc<dyn ObjectStore>, Path), String> {
        self.find_in(url, None)
    }

    /// The same for a bucket of S3 whose region is known.
    pub(super) fn find_in(
        &self,
        url: &str,
        region: Option<&str>,
    ) -> Result<(Arc<dyn ObjectStore>, Path), String> {
        let place = Place::parse(url)?;
        if let Some(buckets) = &self.buckets
            && !buckets.iter().any(|bucket| bucket == place.bucket_name())
        {
            return Err(format!(
                "the bucket `{}` is not among those that may be read",
                place.bucket_name()
            ));
        }
        let path = Path::parse(place.key).map_err(|error| error.to_string())?;
        let name = format!("{}://{}", place.scheme, place.bucket);
        let key = format!("{name} {}", region.unwrap_or_default());
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(&key) {
            return Ok((Arc::clone(store), path));
        }
        if stores.len() >= MAX_STORES {
            stores.clear();
        }
        let store = opening::open(&place, &self.own_s3, region)?;
        stores.insert(key, Arc::clone(&store));
        Ok((store, path))
    }
}

impl TaskFiles for ObjectStores {
    fn read<'a>(&'a self, url: &'a str, most: u64) -> Looking<'a, Vec<u8>> {
        Box::pin(async move {
            let (store, path) = match self.find(url) {
                Ok(found) => found,
                Err(why) => return Looked::Lasting(why),
            };
            let read = async {
                let file = store.get(&path).await?;
                if file.meta.size > most {
                    return Ok(None);
                }
                file.bytes().await.map(Some)
            };
            match tokio::time::timeout(PATIENCE, read).await {
                Ok(Ok(Some(bytes))) => Looked::Found(bytes.to_vec()),
                Ok(Ok(None)) => Looked::Lasting(format!("{url} has more than {most} bytes")),
                Ok(Err(error)) => refused(url, &error),
                Err(_elapsed) => {
                    Looked::Passing(format!("{url} was not read within {} s", PATIENCE.as_secs()))
                }
            }
        })
    }

    fn exists<'a>(&'a self, url: &'a str) -> Looking<'a, ()> {
        Box::pin(async move {
            let (store, path) = match self.find(url) {
                Ok(found) => found,
                Err(why) => return Looked::Lasting(why),
            };
            match tokio::time::timeout(PATIENCE, store.head(&path)).await {
                Ok(Ok(_there)) => Looked::Found(()),
                Ok(Err(error)) => refused(url, &error),
                Err(_elapsed) => Looked::Passing(format!(
                    "{url} was not looked for within {} s",
                    PATIENCE.as_secs()
                )),
            }
        })
    }

    fn write<'a>(&'a self, url: &'a str, content: Vec<u8>) -> Writing<'a> {
        Box::pin(async move {
            let (store, path) = self.find(url).map_err(Unwritten::Lasting)?;
            match tokio::time::timeout(PATIENCE, store.put(&path, content.into())).await {
                Ok(Ok(_written)) => Ok(()),
                Ok(Err(error)) => Err(unwritten(url, &error)),
                Err(_elapsed) => Err(Unwritten::Passing(format!(
                    "{url} was not written within {} s",
                    PATIENCE.as_secs()
                ))),
            }
        })
    }
}

/// What keeps a file from being written.
fn unwritten(url: &str, error: &Error) -> Unwritten {
    let why = format!("{url} cannot be written: {error}");
    match error {
        Error::Generic { .. } | Error::JoinError { .. } => Unwritten::Passing(why),
        _ => Unwritten::Lasting(why),
    }
}

/// What a failure means. The crate's words name the object and the store's answer, never a credential.
pub(super) fn refused<T>(url: &str, error: &Error) -> Looked<T> {
    match error {
        Error::NotFound { .. } => Looked::Absent,
        Error::Generic { .. } | Error::JoinError { .. } => {
            Looked::Passing(format!("{url} cannot be read: {error}"))
        }
        _ => Looked::Lasting(format!("{url} cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_on_disk_is_found_or_absent() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("error.pb"), b"12345").unwrap();
        let url = |name: &str| format!("file://{}/{name}", folder.path().display());
        let stores = ObjectStores::new();
        assert_eq!(stores.read(&url("error.pb"), 5).await, Looked::Found(b"12345".to_vec()));
        assert!(matches!(stores.read(&url("error.pb"), 4).await, Looked::Lasting(_)));
        assert_eq!(stores.read(&url("outputs.pb"), 5).await, Looked::Absent);
        assert_eq!(stores.exists(&url("error.pb")).await, Looked::Found(()));
        assert_eq!(stores.exists(&url("outputs.pb")).await, Looked::Absent);
    }

    #[tokio::test]
    async fn a_file_is_written_whole_in_place_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}/a/b/inputs.pb", folder.path().display());
        let stores = ObjectStores::new();
        for content in [b"longer".to_vec(), b"short".to_vec()] {
            assert_eq!(stores.write(&url, content.clone()).await, Ok(()));
            assert_eq!(stores.read(&url, 9).await, Looked::Found(content));
        }
        let narrowed = ObjectStores::new().only(vec!["mine".to_owned()]);
        for refused in [url.as_str(), "s3://other/inputs.pb", "http://127.0.0.1/inputs.pb"] {
            let written = narrowed.write(refused, b"x".to_vec()).await;
            assert!(matches!(written, Err(Unwritten::Lasting(_))), "{refused}: {written:?}");
        }
        assert_eq!(stores.read(&url, 9).await, Looked::Found(b"short".to_vec()));
    }

    #[tokio::test]
    async fn what_is_not_to_be_read_is_not_read() {
        let stores = ObjectStores::new().only(vec!["mine".to_owned()]);
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
            assert!(matches!(stores.read(url, 5).await, Looked::Lasting(_)), "{url}");
        }
    }
}
