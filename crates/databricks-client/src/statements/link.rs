//! Where a link to a part of a result may lead, and what may be said there. Pure.
//!
//! A workspace says where its results are, and a task may choose its workspace. A link is therefore followed only over
//! https and only to the storage of a cloud, to the workspace itself, or to where the operator says: nobody shall make
//! this program call what is reachable from it alone. No bearer token goes with it.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::wire::{ExternalLink, Hidden};
use crate::{Error, ErrorKind, Host, HostPattern};

/// Domains of Azure's storage; an account is one label in front, or two with a zone.
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

/// Headers of the clouds' storages.
const HEADERS: [&str; 3] = ["x-amz-", "x-ms-", "x-goog-"];

/// The most headers that a link may ask for.
const MAX_HEADERS: usize = 20;

/// The host of a link that may be followed.
///
/// # Errors
///
/// `Forbidden` for any other link. The link itself is not told: it is a secret.
pub(super) fn permitted(
    link: &Hidden,
    workspace: &Host,
    listed: &[HostPattern],
) -> Result<Host, Error> {
    let refused = |why: String| {
        Error::new(
            ErrorKind::Forbidden,
            format!("the link to a part of the result is not followed: {why}"),
        )
    };
    let text = link.expose();
    let is_https = text.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
    if !is_https {
        return Err(refused("it is not https".to_owned()));
    }
    let host = Host::parse(text).map_err(|invalid| refused(invalid.to_string()))?;
    let is_known = host == *workspace
        || is_storage_of_a_cloud(&host)
        || listed.iter().any(|pattern| pattern.matches(&host));
    if is_known {
        Ok(host)
    } else {
        Err(refused(format!("{host} is neither a cloud's storage nor the workspace nor listed")))
    }
}

fn is_storage_of_a_cloud(host: &Host) -> bool {
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
    let is_amazon =
        AMAZON.iter().any(|domain| name.strip_suffix(domain).is_some_and(is_bucket_of_s3));
    host.port() == 443 && !host.is_plain() && (is_azure || is_google || is_amazon)
}

/// Whether a name below Amazon's domain is one of S3's: `[bucket.]s3[-fips][.dualstack][.region][.vpce]` or
/// `[bucket.]s3-region`. Names of load balancers and the like have other labels at the end.
fn is_bucket_of_s3(name: &str) -> bool {
    let of_place = |label: &&str| ["vpce", "dualstack"].contains(label) || is_region(label);
    let service = name.rsplit('.').find(|label| !of_place(label));
    service.is_some_and(|label| {
        ["s3", "s3-fips"].contains(&label)
            || label.strip_prefix("s3-").is_some_and(|region| is_region(&region))
    })
}

/// Whether it looks like `us-west-2` or `us-gov-east-1`.
fn is_region(label: &&str) -> bool {
    let parts: Vec<&str> = label.split('-').collect();
    match parts.as_slice() {
        [place, middle @ .., number] => {
            place.len() == 2
                && place.bytes().all(|byte| byte.is_ascii_lowercase())
                && (1..=2).contains(&middle.len())
                && number.len() == 1
                && number.bytes().all(|byte| byte.is_ascii_digit())
                && middle.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_lowercase()))
        }
        _ => false,
    }
}

/// What is said to the storage: what the link asks for, as far as it is a storage's own.
///
/// # Errors
///
/// `Forbidden` for any other header.
pub(super) fn headers(link: &ExternalLink) -> Result<HeaderMap, Error> {
    let refused = || {
        let what = "the link to a part of the result asks for a header that is no storage's";
        Error::new(ErrorKind::Forbidden, what)
    };
    if link.http_headers.len() > MAX_HEADERS {
        return Err(refused());
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &link.http_headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_invalid| refused())?;
        if !HEADERS.iter().any(|prefix| name.as_str().starts_with(prefix)) {
            return Err(refused());
        }
        let value = HeaderValue::from_str(value.expose());
        let mut value = value.map_err(|_invalid| refused())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(link: &str) -> Result<Host, Error> {
        let workspace = Host::parse("dbc-1.cloud.databricks.com").unwrap();
        let listed = ["localhost:*".parse().unwrap()];
        permitted(&Hidden::from(link), &workspace, &listed)
    }

    #[test]
    fn links_lead_to_storages_the_workspace_and_listed_hosts() {
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
            assert!(follow(&format!("https://{host}/a/b?X-Sig=c")).is_ok(), "{host}");
        }
    }

    #[test]
    fn a_link_to_anywhere_else_is_refused_and_not_told() {
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
            let refused = follow(link).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Forbidden, "{link}");
            assert!(!format!("{refused} {refused:?}").contains("/canary"), "{refused}");
            assert!(!refused.to_string().contains("user:"), "{refused}");
        }
    }

    #[test]
    fn only_headers_of_storages_are_said() {
        let link = |name: &str, value: &str| -> ExternalLink {
            serde_json::from_value(
                serde_json::json!({"external_link": "x", "http_headers": {name: value}}),
            )
            .unwrap()
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
