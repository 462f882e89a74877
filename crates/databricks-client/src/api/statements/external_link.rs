//! Which external links are followed, and with which headers. Pure.
//!
//! A workspace provides the links to its results, and a task may choose its workspace. To prevent server-side request
//! forgery, links are followed over https only, and only to cloud storage, the workspace itself and the hosts that the
//! operator lists. No bearer token is sent.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::response::{ExternalLink, SecretText};
use crate::{Error, ErrorKind, Host, HostPattern};

/// Domains of Azure storage. An account is one label before them, or two with a zone.
const AZURE: [&str; 8] = [
    ".blob.core.windows.net",
    ".dfs.core.windows.net",
    ".blob.storage.azure.net",
    ".dfs.storage.azure.net",
    ".blob.core.usgovcloudapi.net",
    ".dfs.core.usgovcloudapi.net",
    ".blob.core.chinacloudapi.cn",
    ".dfs.core.chinacloudapi.cn",
];

const GOOGLE: &str = "storage.googleapis.com";

const AMAZON: [&str; 2] = [".amazonaws.com", ".amazonaws.com.cn"];

/// Prefixes of the headers of cloud storage.
const HEADER_PREFIXES: [&str; 3] = ["x-amz-", "x-ms-", "x-goog-"];

/// The largest number of headers of a link.
const MAX_HEADERS: usize = 20;

/// Returns the host of a link if it may be followed.
///
/// # Errors
///
/// `Forbidden` for any other link. The error omits the link, which is a secret.
pub(super) fn check(
    link: &SecretText,
    workspace: &Host,
    listed: &[HostPattern],
) -> Result<Host, Error> {
    let rejected = |why: String| {
        Error::new(ErrorKind::Forbidden, format!("external link not followed: {why}"))
    };
    let text = link.expose();
    let is_https = text.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
    if !is_https {
        return Err(rejected("it is not https".to_owned()));
    }
    let host = Host::parse(text).map_err(|invalid| rejected(invalid.to_string()))?;
    let is_allowed = host == *workspace
        || is_cloud_storage(&host)
        || listed.iter().any(|pattern| pattern.matches(&host));
    if is_allowed {
        Ok(host)
    } else {
        let why = format!("{host} is not cloud storage, the workspace or an allowed host");
        Err(rejected(why))
    }
}

fn is_cloud_storage(host: &Host) -> bool {
    let name = host.name();
    let is_azure = AZURE.iter().any(|domain| {
        name.strip_suffix(domain).is_some_and(|account| {
            let labels: Vec<&str> = account.split('.').collect();
            labels.len() <= 2 && labels.iter().all(|label| !label.is_empty())
        })
    });
    let is_google = name == GOOGLE
        || name
            .strip_suffix(GOOGLE)
            .is_some_and(|bucket| bucket.len() > 1 && bucket.ends_with('.'));
    let is_amazon = AMAZON.iter().any(|domain| name.strip_suffix(domain).is_some_and(is_s3));
    host.port() == 443 && !host.is_plain() && (is_azure || is_google || is_amazon)
}

/// True if a name below the domain of Amazon is one of S3: `[bucket.]s3[-fips][.dualstack][.region][.vpce]` or
/// `[bucket.]s3-region`. Load balancers and other services have other labels at the end.
fn is_s3(name: &str) -> bool {
    let is_location = |label: &&str| ["vpce", "dualstack"].contains(label) || is_region(label);
    let service = name.rsplit('.').find(|label| !is_location(label));
    service.is_some_and(|label| {
        ["s3", "s3-fips"].contains(&label)
            || label.strip_prefix("s3-").is_some_and(|region| is_region(&region))
    })
}

/// True for a label such as `us-west-2` or `us-gov-east-1`.
fn is_region(label: &&str) -> bool {
    let parts: Vec<&str> = label.split('-').collect();
    match parts.as_slice() {
        [area, middle @ .., number] => {
            area.len() == 2
                && area.bytes().all(|byte| byte.is_ascii_lowercase())
                && (1..=2).contains(&middle.len())
                && number.len() == 1
                && number.bytes().all(|byte| byte.is_ascii_digit())
                && middle.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_lowercase()))
        }
        _ => false,
    }
}

/// Returns the headers that the link requires.
///
/// # Errors
///
/// `Forbidden` for a header other than those of cloud storage.
pub(super) fn headers(link: &ExternalLink) -> Result<HeaderMap, Error> {
    let rejected = || {
        let text =
            "external link not followed: it requires a header that is not one of cloud storage";
        Error::new(ErrorKind::Forbidden, text)
    };
    if link.http_headers.len() > MAX_HEADERS {
        return Err(rejected());
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &link.http_headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_invalid| rejected())?;
        if !HEADER_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix)) {
            return Err(rejected());
        }
        let value = HeaderValue::from_str(value.expose());
        let mut value = value.map_err(|_invalid| rejected())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::json::{Bounds, read_object};

    fn check_link(link: &str) -> Result<Host, Error> {
        let workspace = Host::parse("dbc-1.cloud.databricks.com").unwrap();
        let listed = ["localhost:*".parse().unwrap()];
        check(&SecretText::from(link), &workspace, &listed)
    }

    #[test]
    fn links_to_cloud_storage_the_workspace_and_listed_hosts_are_followed() {
        for host in [
            "bucket.s3.amazonaws.com",
            "bucket.s3.us-west-2.amazonaws.com",
            "s3.us-west-2.amazonaws.com",
            "my.bucket.s3-eu-west-1.amazonaws.com",
            "bucket.s3.dualstack.eu-central-1.amazonaws.com",
            "bucket.s3-fips.us-gov-west-1.amazonaws.com",
            "bucket.vpce-1.s3.us-east-1.vpce.amazonaws.com",
            "bucket.s3.cn-north-1.amazonaws.com.cn",
            "dbstorage1.blob.core.windows.net",
            "account.z01.blob.storage.azure.net",
            "account.dfs.core.chinacloudapi.cn",
            "storage.googleapis.com",
            "bucket.storage.googleapis.com",
            "dbc-1.cloud.databricks.com",
            "localhost:8443",
        ] {
            assert!(check_link(&format!("https://{host}/a/b?X-Sig=c")).is_ok(), "{host}");
        }
    }

    #[test]
    fn other_links_are_rejected_and_not_quoted() {
        for link in [
            "http://bucket.s3.amazonaws.com/canary",
            "http://localhost:8443/canary",
            "https://user:canary@bucket.s3.amazonaws.com/",
            "https://169.254.169.254/canary",
            "https://[::1]/canary",
            "https://kubernetes.default.svc/canary",
            "https://bucket.s3.amazonaws.com:8443/canary",
            "https://s3.evil.example/canary",
            "https://bucket.s3.amazonaws.com.evil.example/canary",
            "https://evilamazonaws.com/canary",
            "https://amazonaws.com/canary",
            "https://s3-x-1.us-east-1.elb.amazonaws.com/canary",
            "https://internal-s3.us-east-1.elb.amazonaws.com/canary",
            "https://s3.vpc-x.us-east-1.es.amazonaws.com/canary",
            "https://ec2.us-east-1.amazonaws.com/canary",
            "https://a.b.c.blob.core.windows.net/canary",
            "https://.blob.core.windows.net/canary",
            "https://evilstorage.googleapis.com/canary",
            "https://compute.googleapis.com/canary",
            "https://dbc-2.cloud.databricks.com/canary",
            "https:\\\\bucket.s3.amazonaws.com\\canary",
            "ftp://bucket.s3.amazonaws.com/canary",
            "canary",
        ] {
            let error = check_link(link).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Forbidden, "{link}");
            assert!(!format!("{error} {error:?}").contains("/canary"), "{error}");
            assert!(!error.to_string().contains("user:"), "{error}");
        }
    }

    #[test]
    fn only_headers_of_cloud_storage_are_sent() {
        let link = |name: &str, value: &str| -> ExternalLink {
            let link = serde_json::json!({"external_link": "x", "http_headers": {name: value}});
            read_object(link.to_string().into(), Bounds::RESPONSE).unwrap().0
        };
        assert_eq!(headers(&link("X-Ms-Blob", "a")).unwrap()["x-ms-blob"], "a");
        for (name, value) in [
            ("Authorization", "a"),
            ("Host", "a"),
            ("Metadata-Flavor", "Google"),
            ("x-amz-a", "b\r\nc: d"),
            ("x amz", "a"),
        ] {
            assert!(headers(&link(name, value)).is_err(), "{name}");
        }
    }
}
