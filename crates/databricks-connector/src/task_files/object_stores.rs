//! Files in object stores and on disk, with credentials from the environment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use object_store::{
    BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt as _, RetryConfig,
    aws::AmazonS3Builder, azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder,
    local::LocalFileSystem, path::Path,
};
use secrecy::{ExposeSecret as _, SecretString};

use super::{Looked, Looking, TaskFiles};

/// How long a look may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How many buckets keep a store of their own.
const MAX_STORES: usize = 1_000;

/// Files in object stores and on disk. `s3`, `s3a`, `gs`, `abfs`, `abfss` and `file` are read, nothing else is.
#[derive(Debug, Default)]
pub struct ObjectStores {
    s3_endpoint: Option<String>,
    s3_access_key_id: Option<SecretString>,
    s3_secret_access_key: Option<SecretString>,
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
        self.s3_endpoint = endpoint;
        self.s3_access_key_id = access_key_id;
        self.s3_secret_access_key = secret_access_key;
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
        let store = self.open(&place, &name, region).map_err(|error| error.to_string())?;
        stores.insert(key, Arc::clone(&store));
        Ok((store, path))
    }

    fn open(
        &self,
        place: &Place<'_>,
        name: &str,
        region: Option<&str>,
    ) -> Result<Arc<dyn ObjectStore>, Error> {
        let retry = RetryConfig {
            max_retries: 0,
            retry_timeout: PATIENCE,
            backoff: BackoffConfig::default(),
        };
        let client = ClientOptions::new().with_timeout(PATIENCE).with_connect_timeout(PATIENCE);
        Ok(match place.kind {
            Kind::Disk => Arc::new(LocalFileSystem::new()),
            Kind::S3 => {
                let mut builder =
                    AmazonS3Builder::from_env().with_bucket_name(place.bucket).with_retry(retry);
                if let Some(region) = region.filter(|_| self.s3_endpoint.is_none()) {
                    builder = builder.with_region(region);
                }
                if let Some(endpoint) = &self.s3_endpoint {
                    builder =
                        builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false);
                }
                if let (Some(id), Some(secret)) =
                    (&self.s3_access_key_id, &self.s3_secret_access_key)
                {
                    builder = builder
                        .with_access_key_id(id.expose_secret())
                        .with_secret_access_key(secret.expose_secret());
                }
                // Only where the operator named such an endpoint.
                let plain = self
                    .s3_endpoint
                    .as_ref()
                    .is_some_and(|endpoint| endpoint.starts_with("http://"));
                Arc::new(builder.with_client_options(client.with_allow_http(plain)).build()?)
            }
            Kind::Gs => Arc::new(
                GoogleCloudStorageBuilder::from_env()
                    .with_bucket_name(place.bucket)
                    .with_retry(retry)
                    .with_client_options(client)
                    .build()?,
            ),
            Kind::Abfs => Arc::new(
                MicrosoftAzureBuilder::from_env()
                    .with_url(name)
                    .with_retry(retry)
                    .with_client_options(client)
                    .build()?,
            ),
        })
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

/// An address, parted. Keys are taken as they are: Flyte writes them without escapes.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    kind: Kind,
    scheme: &'a str,
    bucket: &'a str,
    key: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Disk,
    S3,
    Gs,
    Abfs,
}

impl<'a> Place<'a> {
    fn parse(url: &'a str) -> Result<Self, String> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(format!("`{url}` has no scheme"));
        };
        let kind = match scheme {
            "file" => Kind::Disk,
            "s3" | "s3a" => Kind::S3,
            "gs" => Kind::Gs,
            "abfs" | "abfss" => Kind::Abfs,
            _ => return Err(format!("files of scheme `{scheme}` are not read")),
        };
        match rest.split_once('/') {
            Some((bucket, key)) if bucket.is_empty() == (kind == Kind::Disk) && !key.is_empty() => {
                Ok(Self { kind, scheme, bucket, key })
            }
            _ => Err(format!("`{url}` is not the address of a file")),
        }
    }

    /// The bucket or container without the account.
    fn bucket_name(&self) -> &str {
        self.bucket.split('@').next().unwrap_or_default()
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

    #[test]
    fn an_address_is_parted_into_bucket_and_key() {
        let place = Place::parse("abfss://c@a.dfs.core.windows.net/x/error.pb").unwrap();
        assert_eq!((place.bucket_name(), place.key), ("c", "x/error.pb"));
        assert_eq!(Place::parse("s3a://b/a=b/c").unwrap().key, "a=b/c");
    }
}
