//! Opens the stores of each cloud, with what the environment says and a time limit of our own. Each cloud is a feature.

use std::sync::Arc;

#[cfg(any(feature = "s3", feature = "gs", feature = "abfs"))]
use object_store::{BackoffConfig, ClientConfigKey, Error, RetryConfig};
use object_store::{ObjectStore, local::LocalFileSystem};
use secrecy::SecretString;

#[cfg(any(feature = "s3", feature = "gs", feature = "abfs"))]
use super::object_stores::PATIENCE;
use super::place::{Kind, Place};

/// An S3 that is not Amazon's, as the operator named it.
#[derive(Debug, Default)]
#[cfg_attr(not(feature = "s3"), expect(dead_code, reason = "S3 is compiled out"))]
pub(super) struct OwnS3 {
    pub(super) endpoint: Option<String>,
    pub(super) access_key_id: Option<SecretString>,
    pub(super) secret_access_key: Option<SecretString>,
}

/// The store of a place.
///
/// # Errors
///
/// A clause that says what the environment lacks, or which feature this build lacks.
pub(super) fn open(
    place: &Place<'_>,
    own_s3: &OwnS3,
    region: Option<&str>,
) -> Result<Arc<dyn ObjectStore>, String> {
    match place.kind {
        Kind::Disk => Ok(Arc::new(LocalFileSystem::new())),
        #[cfg(feature = "s3")]
        Kind::S3 => s3(object_store::aws::AmazonS3Builder::from_env(), place, own_s3, region)
            .map_err(|error| error.to_string()),
        #[cfg(not(feature = "s3"))]
        Kind::S3 => {
            let (_, _) = (own_s3, region);
            Err(compiled_out(place, "s3"))
        }
        #[cfg(feature = "gs")]
        Kind::Gs => gs(object_store::gcp::GoogleCloudStorageBuilder::from_env(), place)
            .map_err(|error| error.to_string()),
        #[cfg(not(feature = "gs"))]
        Kind::Gs => Err(compiled_out(place, "gs")),
        #[cfg(feature = "abfs")]
        Kind::Abfs => abfs(object_store::azure::MicrosoftAzureBuilder::from_env(), place)
            .map_err(|error| error.to_string()),
        #[cfg(not(feature = "abfs"))]
        Kind::Abfs => Err(compiled_out(place, "abfs")),
    }
}

#[cfg(any(test, not(all(feature = "s3", feature = "gs", feature = "abfs"))))]
fn compiled_out(place: &Place<'_>, feature: &str) -> String {
    format!(
        "this build of the connector cannot reach `{}://`: it was compiled without the cargo feature `{feature}`",
        place.scheme
    )
}

/// S3 as the builder has it from the environment, and as the operator named it.
#[cfg(feature = "s3")]
pub(super) fn s3(
    builder: object_store::aws::AmazonS3Builder,
    place: &Place<'_>,
    own: &OwnS3,
    region: Option<&str>,
) -> Result<Arc<dyn ObjectStore>, Error> {
    use object_store::aws::AmazonS3ConfigKey as Key;
    use secrecy::ExposeSecret as _;

    let mut builder = builder.with_bucket_name(place.bucket).with_retry(no_further_tries());
    for (key, value) in limits() {
        builder = builder.with_config(Key::Client(key), value);
    }
    if let Some(region) = region.filter(|_| own.endpoint.is_none()) {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &own.endpoint {
        // The key that wins over every other endpoint.
        builder =
            builder.with_config(Key::S3Endpoint, endpoint).with_virtual_hosted_style_request(false);
    }
    if let (Some(id), Some(secret)) = (&own.access_key_id, &own.secret_access_key) {
        builder = builder
            .with_access_key_id(id.expose_secret())
            .with_secret_access_key(secret.expose_secret());
    }
    let endpoint = builder
        .get_config_value(&Key::S3Endpoint)
        .or_else(|| builder.get_config_value(&Key::Endpoint));
    if is_plain(endpoint) {
        builder = builder.with_allow_http(true);
    }
    Ok(Arc::new(builder.build()?))
}

/// Google's store as the builder has it from the environment.
#[cfg(feature = "gs")]
pub(super) fn gs(
    builder: object_store::gcp::GoogleCloudStorageBuilder,
    place: &Place<'_>,
) -> Result<Arc<dyn ObjectStore>, Error> {
    use object_store::gcp::GoogleConfigKey as Key;

    let mut builder = builder.with_bucket_name(place.bucket).with_retry(no_further_tries());
    for (key, value) in limits() {
        builder = builder.with_config(Key::Client(key), value);
    }
    if is_plain(builder.get_config_value(&Key::BaseUrl)) {
        builder = builder.with_config(Key::Client(ClientConfigKey::AllowHttp), "true");
    }
    Ok(Arc::new(builder.build()?))
}

/// Azure's store as the builder has it from the environment. The account is the address's, else the environment's.
#[cfg(feature = "abfs")]
pub(super) fn abfs(
    builder: object_store::azure::MicrosoftAzureBuilder,
    place: &Place<'_>,
) -> Result<Arc<dyn ObjectStore>, Error> {
    use object_store::azure::AzureConfigKey as Key;

    let mut builder = builder
        .with_url(format!("{}://{}", place.scheme, place.bucket))
        .with_retry(no_further_tries());
    for (key, value) in limits() {
        builder = builder.with_config(Key::Client(key), value);
    }
    if is_plain(builder.get_config_value(&Key::Endpoint)) {
        builder = builder.with_allow_http(true);
    }
    Ok(Arc::new(builder.build()?))
}

/// Key by key, as a whole set of options would undo what the environment says of proxies, certificates and plain HTTP.
#[cfg(any(feature = "s3", feature = "gs", feature = "abfs"))]
fn limits() -> [(ClientConfigKey, String); 2] {
    let patience = format!("{} seconds", PATIENCE.as_secs());
    [(ClientConfigKey::Timeout, patience.clone()), (ClientConfigKey::ConnectTimeout, patience)]
}

#[cfg(any(feature = "s3", feature = "gs", feature = "abfs"))]
fn no_further_tries() -> RetryConfig {
    RetryConfig { max_retries: 0, retry_timeout: PATIENCE, backoff: BackoffConfig::default() }
}

/// Whoever names an endpoint of plain HTTP wants it, as the clouds' own tools take it.
#[cfg(any(feature = "s3", feature = "gs", feature = "abfs"))]
fn is_plain(endpoint: Option<String>) -> bool {
    endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloud_that_is_compiled_out_is_told_as_such() {
        let place = Place::parse("gs://bucket/error.pb").unwrap();
        let refused = compiled_out(&place, "gs");
        assert!(refused.contains("the cargo feature `gs`"), "{refused}");
        if cfg!(not(feature = "gs")) {
            assert_eq!(open(&place, &OwnS3::default(), None).unwrap_err(), refused);
        }
    }

    #[cfg(feature = "s3")]
    mod of_s3 {
        use object_store::{ObjectStoreExt as _, aws::AmazonS3Builder, path::Path};
        use tokio::{
            io::{AsyncReadExt as _, AsyncWriteExt as _},
            net::TcpListener,
        };

        use super::*;

        fn place() -> Place<'static> {
            Place::parse("s3://bucket/error.pb").unwrap()
        }

        async fn listener() -> (TcpListener, String) {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let address = format!("http://{}", listener.local_addr().unwrap());
            (listener, address)
        }

        #[tokio::test]
        async fn an_endpoint_of_plain_http_from_the_environment_is_read() {
            let (listener, endpoint) = listener().await;
            let serving = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: \"e\"\r\n\
                           Last-Modified: Mon, 23 Nov 2026 12:00:00 GMT\r\nConnection: close\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
            });
            // What `from_env` makes of AWS_ENDPOINT_URL and its kin.
            let builder = [
                ("aws_endpoint_url", endpoint.as_str()),
                ("aws_access_key_id", "id"),
                ("aws_secret_access_key", "secret"),
            ]
            .into_iter()
            .fold(AmazonS3Builder::new(), |builder, (key, value)| {
                builder.with_config(key.parse().unwrap(), value)
            });
            let store = s3(builder, &place(), &OwnS3::default(), None).unwrap();
            let read = store.get(&Path::from("error.pb")).await.unwrap().bytes().await.unwrap();
            assert_eq!(read.as_ref(), b"ok");
            serving.await.unwrap();
        }

        #[test]
        fn what_the_environment_says_of_the_client_is_kept() {
            let builder = AmazonS3Builder::new()
                .with_config("aws_allow_invalid_certificates".parse().unwrap(), "perhaps");
            let refused = s3(builder, &place(), &OwnS3::default(), None).unwrap_err();
            assert!(refused.to_string().contains("perhaps"), "{refused}");
        }

        #[tokio::test(start_paused = true)]
        async fn credentials_that_nobody_hands_out_are_waited_for_no_longer_than_a_look_takes() {
            let (_silent, metadata) = listener().await;
            let builder = AmazonS3Builder::new().with_metadata_endpoint(metadata);
            let store = s3(builder, &place(), &OwnS3::default(), None).unwrap();
            let started = tokio::time::Instant::now();
            store.get(&Path::from("error.pb")).await.unwrap_err();
            assert!(started.elapsed() <= PATIENCE + std::time::Duration::from_millis(10));
        }
    }
}
