//! Store clients of each cloud, configured from the environment. Each cloud is a cargo feature.

use std::sync::Arc;

#[cfg(any(feature = "s3", feature = "gs", feature = "abfs"))]
use object_store::{BackoffConfig, ClientConfigKey, Error, RetryConfig};
use object_store::{ObjectStore, local::LocalFileSystem};
use secrecy::SecretString;

#[cfg(any(feature = "s3", feature = "gs", feature = "abfs"))]
use crate::REQUEST_TIMEOUT;
use crate::url::{Kind, StorageUrl};

/// An S3-compatible store that is not Amazon's, and its credentials.
#[derive(Debug, Default)]
#[cfg_attr(not(feature = "s3"), expect(dead_code, reason = "S3 is compiled out"))]
pub(crate) struct S3Override {
    pub(crate) endpoint: Option<String>,
    pub(crate) access_key_id: Option<SecretString>,
    pub(crate) secret_access_key: Option<SecretString>,
}

/// Opens the store of a URL.
///
/// # Errors
///
/// A clause that names the missing part of the environment, or the missing cargo feature.
pub(crate) fn open(
    url: &StorageUrl<'_>,
    s3_override: &S3Override,
    region: Option<&str>,
) -> Result<Arc<dyn ObjectStore>, String> {
    match url.kind {
        Kind::File => Ok(Arc::new(LocalFileSystem::new())),
        #[cfg(feature = "s3")]
        Kind::S3 => s3(object_store::aws::AmazonS3Builder::from_env(), url, s3_override, region)
            .map_err(|error| error.to_string()),
        #[cfg(not(feature = "s3"))]
        Kind::S3 => {
            let (_, _) = (s3_override, region);
            Err(compiled_out(url, "s3"))
        }
        #[cfg(feature = "gs")]
        Kind::Gs => gs(object_store::gcp::GoogleCloudStorageBuilder::from_env(), url)
            .map_err(|error| error.to_string()),
        #[cfg(not(feature = "gs"))]
        Kind::Gs => Err(compiled_out(url, "gs")),
        #[cfg(feature = "abfs")]
        Kind::Abfs => abfs(object_store::azure::MicrosoftAzureBuilder::from_env(), url)
            .map_err(|error| error.to_string()),
        #[cfg(not(feature = "abfs"))]
        Kind::Abfs => Err(compiled_out(url, "abfs")),
    }
}

#[cfg(any(test, not(all(feature = "s3", feature = "gs", feature = "abfs"))))]
fn compiled_out(url: &StorageUrl<'_>, feature: &str) -> String {
    format!(
        "this build does not support `{}://`: it was compiled without the cargo feature `{feature}`",
        url.scheme
    )
}

/// Builds the S3 client. The custom endpoint and credentials override the environment.
#[cfg(feature = "s3")]
pub(crate) fn s3(
    builder: object_store::aws::AmazonS3Builder,
    url: &StorageUrl<'_>,
    custom: &S3Override,
    region: Option<&str>,
) -> Result<Arc<dyn ObjectStore>, Error> {
    use object_store::aws::AmazonS3ConfigKey as Key;
    use secrecy::ExposeSecret as _;

    let mut builder = builder.with_bucket_name(url.bucket).with_retry(no_retries());
    for (key, value) in timeouts() {
        builder = builder.with_config(Key::Client(key), value);
    }
    if let Some(region) = region.filter(|_| custom.endpoint.is_none()) {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &custom.endpoint {
        // The key with the highest precedence.
        builder =
            builder.with_config(Key::S3Endpoint, endpoint).with_virtual_hosted_style_request(false);
    }
    if let (Some(id), Some(secret)) = (&custom.access_key_id, &custom.secret_access_key) {
        builder = builder
            .with_access_key_id(id.expose_secret())
            .with_secret_access_key(secret.expose_secret());
    }
    let endpoint = builder
        .get_config_value(&Key::S3Endpoint)
        .or_else(|| builder.get_config_value(&Key::Endpoint));
    if is_http(endpoint) {
        builder = builder.with_allow_http(true);
    }
    Ok(Arc::new(builder.build()?))
}

/// Builds the Google Cloud Storage client.
#[cfg(feature = "gs")]
pub(crate) fn gs(
    builder: object_store::gcp::GoogleCloudStorageBuilder,
    url: &StorageUrl<'_>,
) -> Result<Arc<dyn ObjectStore>, Error> {
    use object_store::gcp::GoogleConfigKey as Key;

    let mut builder = builder.with_bucket_name(url.bucket).with_retry(no_retries());
    for (key, value) in timeouts() {
        builder = builder.with_config(Key::Client(key), value);
    }
    if is_http(builder.get_config_value(&Key::BaseUrl)) {
        builder = builder.with_config(Key::Client(ClientConfigKey::AllowHttp), "true");
    }
    Ok(Arc::new(builder.build()?))
}

/// Builds the Azure client. The account comes from the URL, else from the environment.
#[cfg(feature = "abfs")]
pub(crate) fn abfs(
    builder: object_store::azure::MicrosoftAzureBuilder,
    url: &StorageUrl<'_>,
) -> Result<Arc<dyn ObjectStore>, Error> {
    use object_store::azure::AzureConfigKey as Key;

    let mut builder =
        builder.with_url(format!("{}://{}", url.scheme, url.bucket)).with_retry(no_retries());
    for (key, value) in timeouts() {
        builder = builder.with_config(Key::Client(key), value);
    }
    if is_http(builder.get_config_value(&Key::Endpoint)) {
        builder = builder.with_allow_http(true);
    }
    Ok(Arc::new(builder.build()?))
}

/// Timeouts, as single options: a `ClientOptions` value would discard proxies, certificates and plain HTTP from the
/// environment.
#[cfg(any(feature = "s3", feature = "gs", feature = "abfs"))]
fn timeouts() -> [(ClientConfigKey, String); 2] {
    let timeout = format!("{} seconds", REQUEST_TIMEOUT.as_secs());
    [(ClientConfigKey::Timeout, timeout.clone()), (ClientConfigKey::ConnectTimeout, timeout)]
}

#[cfg(any(feature = "s3", feature = "gs", feature = "abfs"))]
fn no_retries() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        retry_timeout: REQUEST_TIMEOUT,
        backoff: BackoffConfig::default(),
    }
}

/// True if the endpoint is plain HTTP. Configuring one allows it, as in the clouds' own tools.
#[cfg(any(feature = "s3", feature = "gs", feature = "abfs"))]
fn is_http(endpoint: Option<String>) -> bool {
    endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cloud_that_is_compiled_out_is_rejected_with_its_feature() {
        let url = StorageUrl::parse("gs://bucket/error.pb").unwrap();
        let message = compiled_out(&url, "gs");
        assert!(message.contains("the cargo feature `gs`"), "{message}");
        if cfg!(not(feature = "gs")) {
            assert_eq!(open(&url, &S3Override::default(), None).unwrap_err(), message);
        }
    }

    #[cfg(feature = "s3")]
    mod s3_store {
        use object_store::{ObjectStoreExt as _, aws::AmazonS3Builder, path::Path};
        use tokio::{
            io::{AsyncReadExt as _, AsyncWriteExt as _},
            net::TcpListener,
        };

        use super::*;

        fn url() -> StorageUrl<'static> {
            StorageUrl::parse("s3://bucket/error.pb").unwrap()
        }

        async fn listener() -> (TcpListener, String) {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let address = format!("http://{}", listener.local_addr().unwrap());
            (listener, address)
        }

        #[tokio::test]
        async fn plain_http_endpoint_from_the_environment_is_used() {
            let (listener, endpoint) = listener().await;
            let serving = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
                let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: \"e\"\r\n\
                           Last-Modified: Mon, 23 Nov 2026 12:00:00 GMT\r\nConnection: close\r\n\r\nok";
                stream.write_all(response).await.unwrap();
            });
            // As `from_env` reads AWS_ENDPOINT_URL and the other variables.
            let builder = [
                ("aws_endpoint_url", endpoint.as_str()),
                ("aws_access_key_id", "id"),
                ("aws_secret_access_key", "secret"),
            ]
            .into_iter()
            .fold(AmazonS3Builder::new(), |builder, (key, value)| {
                builder.with_config(key.parse().unwrap(), value)
            });
            let store = s3(builder, &url(), &S3Override::default(), None).unwrap();
            let read = store.get(&Path::from("error.pb")).await.unwrap().bytes().await.unwrap();
            assert_eq!(read.as_ref(), b"ok");
            serving.await.unwrap();
        }

        #[test]
        fn client_options_from_the_environment_are_kept() {
            let builder = AmazonS3Builder::new()
                .with_config("aws_allow_invalid_certificates".parse().unwrap(), "perhaps");
            let error = s3(builder, &url(), &S3Override::default(), None).unwrap_err();
            assert!(error.to_string().contains("perhaps"), "{error}");
        }

        #[tokio::test(start_paused = true)]
        async fn unresponsive_metadata_server_is_bounded_by_the_request_timeout() {
            let (_silent, metadata) = listener().await;
            let builder = AmazonS3Builder::new().with_metadata_endpoint(metadata);
            let store = s3(builder, &url(), &S3Override::default(), None).unwrap();
            let started = tokio::time::Instant::now();
            store.get(&Path::from("error.pb")).await.unwrap_err();
            assert!(started.elapsed() <= REQUEST_TIMEOUT + std::time::Duration::from_millis(10));
        }
    }
}
