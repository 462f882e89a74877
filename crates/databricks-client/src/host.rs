//! The host of a workspace: parsing and normalization of what a user or an operator writes.
//!
//! Which hosts may receive a token is decided in `policy`.

mod policy;

use std::{fmt, net::IpAddr, str::FromStr};

use http::{HeaderName, HeaderValue};
use url::Url;

pub use policy::{HostNotAllowed, HostPattern, HostPolicy, InvalidHostPattern};

/// Suffixes of Databricks domains (databricks-api.md#host-names).
const DATABRICKS_SUFFIXES: [&str; 8] = [
    ".cloud.databricks.com",
    ".cloud.databricks.us",
    ".cloud.databricks.mil",
    ".dev.databricks.com",
    ".azuredatabricks.net",
    ".databricks.azure.us",
    ".databricks.azure.cn",
    ".gcp.databricks.com",
];

const HTTPS_PORT: u16 = 443;

/// The keys of a query that name the workspace on a host that several share (databricks-api.md#host-names).
const WORKSPACE_KEYS: [&str; 3] = ["o", "w", "workspace_id"];

/// The maximum length of a workspace id, in bytes. Numeric ids have up to 19 digits.
const MAX_WORKSPACE_ID: usize = 64;

/// The header that names the workspace on a host that several share (databricks-api.md#host-names).
const WORKSPACE_HEADER: HeaderName = HeaderName::from_static("x-databricks-org-id");

/// The maximum length of a DNS name and of a label, in bytes (RFC 1035, section 2.3.4). Bounds the memory for hosts,
/// which tasks choose.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// The normalized host of a workspace: scheme, name and port, and the workspace id on a host that several workspaces
/// share. Displayed as `host`, `host:port`, or `http://host:port` for plain HTTP on loopback, without the workspace id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host {
    display: String,
    name: String,
    port: u16,
    is_plain: bool,
    workspace_id: Option<String>,
}

/// Why a text is not a host. Omits the text, which may contain a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The text is empty.
    #[error("the host is empty")]
    Empty,
    /// The text is not a host or URL.
    #[error("not a valid host; expected a host such as dbc-1234.cloud.databricks.com")]
    Malformed,
    /// The URL contains a user name or password.
    #[error("the URL contains a user name or a password")]
    UserInfo,
    /// The scheme is neither https nor http.
    #[error("the scheme is not https")]
    Scheme,
    /// Plain HTTP to a host other than loopback.
    #[error("plain http is allowed for loopback only; use https")]
    PlainHttp,
    /// The workspace id is not one.
    #[error("the workspace id in the address is not valid; expected digits, as in `?o=1234567890`")]
    WorkspaceId,
}

impl Host {
    /// Parses `host`, `host:port` or a URL. Drops path, query and fragment, except a workspace id in the query, such as
    /// `?o=1234567890`. A name that identifies a workspace by itself, such as `dbc-…`, needs no id, so it is dropped too.
    ///
    /// # Errors
    ///
    /// [`HostError`] if the text is not a host.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        // `Url` would remove tabs and line ends, and accept backslashes as slashes.
        if text.chars().any(|character| {
            character.is_control() || character.is_whitespace() || character == '\\'
        }) {
            return Err(HostError::Malformed);
        }
        let url = match text.split_once("://") {
            Some((scheme, rest)) => {
                if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
                    return Err(HostError::Scheme);
                }
                if rest.is_empty() || rest.starts_with('/') {
                    return Err(HostError::Malformed);
                }
                Url::parse(text)
            }
            None if text.starts_with('/') => return Err(HostError::Malformed),
            None => Url::parse(&format!("https://{text}")),
        }
        .map_err(|_invalid| HostError::Malformed)?;
        if !url.username().is_empty() || url.password().is_some() || authority(text).contains('@') {
            return Err(HostError::UserInfo);
        }
        let name = url.host_str().unwrap_or_default();
        // A final dot denotes the same, fully qualified name.
        let name = name.strip_suffix('.').unwrap_or(name).to_owned();
        if name.is_empty()
            || name.len() > MAX_NAME
            || name.split('.').any(|label| label.is_empty() || label.len() > MAX_LABEL)
        {
            return Err(HostError::Malformed);
        }
        let is_plain = url.scheme() == "http";
        let port = url.port().unwrap_or(if is_plain { 80 } else { HTTPS_PORT });
        if port == 0 {
            return Err(HostError::Malformed);
        }
        let display = match (is_plain, port) {
            (false, HTTPS_PORT) => name.clone(),
            (false, port) => format!("{name}:{port}"),
            (true, 80) => format!("http://{name}"),
            (true, port) => format!("http://{name}:{port}"),
        };
        let host = Self { display, name, port, is_plain, workspace_id: None };
        if is_plain && !host.is_loopback() {
            return Err(HostError::PlainHttp);
        }
        let named = url.query_pairs().find(|(key, _)| WORKSPACE_KEYS.contains(&key.as_ref()));
        match named {
            Some((_, id)) if !host.names_one_workspace() => host.with_workspace_id(&id),
            Some(_) | None => Ok(host),
        }
    }

    /// Returns the host with this workspace id, or without one if it is empty or `0`.
    ///
    /// # Errors
    ///
    /// [`HostError::WorkspaceId`] if the text is not an id.
    pub fn with_workspace_id(self, id: &str) -> Result<Self, HostError> {
        let id = id.trim();
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if id.len() > MAX_WORKSPACE_ID || !id.bytes().all(is_id) {
            return Err(HostError::WorkspaceId);
        }
        let workspace_id = Some(id.to_owned()).filter(|id| !id.is_empty() && id != "0");
        Ok(Self { workspace_id, ..self })
    }

    /// Returns the workspace id, if the host is shared.
    pub fn workspace_id(&self) -> Option<&str> {
        self.workspace_id.as_deref()
    }

    /// Returns the header that names the workspace, if the host is shared.
    pub(crate) fn workspace_header(&self) -> Option<(HeaderName, HeaderValue)> {
        let value = HeaderValue::from_str(self.workspace_id()?).ok()?;
        Some((WORKSPACE_HEADER, value))
    }

    /// True if both have the same scheme, name and port, and do not name different workspaces.
    pub fn matches(&self, other: &Self) -> bool {
        let ids = (&self.workspace_id, &other.workspace_id);
        self.display == other.display && (ids.0.is_none() || ids.1.is_none() || ids.0 == ids.1)
    }

    /// True if the name itself identifies a workspace (databricks-api.md#host-names).
    fn names_one_workspace(&self) -> bool {
        let label = self.name.split('.').next().unwrap_or_default();
        let is_number = label.bytes().all(|byte| byte.is_ascii_digit());
        self.has_databricks_name()
            && (label.starts_with("dbc-")
                || label.starts_with("adb-")
                || (is_number && self.name.ends_with(".gcp.databricks.com")))
    }

    /// Returns the host as displayed and stored.
    pub fn as_str(&self) -> &str {
        &self.display
    }

    /// Returns the URL of the host, without a final slash.
    pub fn base_url(&self) -> String {
        if self.is_plain { self.display.clone() } else { format!("https://{}", self.display) }
    }

    /// Returns the host name or bracketed IP address in lower case, without scheme and port.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// True for plain HTTP.
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// True for a Databricks domain on port 443.
    pub fn is_databricks_domain(&self) -> bool {
        !self.is_plain && self.port == HTTPS_PORT && self.has_databricks_name()
    }

    /// True if the name is below a Databricks domain, on any port.
    pub(crate) fn has_databricks_name(&self) -> bool {
        DATABRICKS_SUFFIXES.iter().any(|suffix| {
            self.name
                .strip_suffix(suffix)
                .is_some_and(|label| !label.is_empty() && !label.starts_with('.'))
        })
    }

    /// True for a loopback name or address.
    pub fn is_loopback(&self) -> bool {
        self.name == "localhost"
            || self.name.ends_with(".localhost")
            || self.ip().is_some_and(|ip| ip.to_canonical().is_loopback())
    }

    /// Returns the IP address, written in any notation.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.name.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

/// Returns the authority of a URL: the part between the scheme and the path, query or fragment.
fn authority(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        Self::parse(text)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.display)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, display: &str) {
        assert_eq!(Host::parse(text).as_ref().map(Host::as_str), Ok(display), "{text}");
    }

    #[test]
    fn pasted_url_is_reduced_to_its_host() {
        check("dbc-1.cloud.databricks.com", "dbc-1.cloud.databricks.com");
        check(
            " https://DBC-1.cloud.databricks.com:443/path?o=1#job ",
            "dbc-1.cloud.databricks.com",
        );
        check("dbc-1.cloud.databricks.com./x", "dbc-1.cloud.databricks.com");
        check("localhost:8443", "localhost:8443");
        check("http://127.0.0.1:8080/", "http://127.0.0.1:8080");
        check("http://localhost", "http://localhost");
        check("[::1]:8443", "[::1]:8443");
        check("127.1", "127.0.0.1");
        check("0x7f000001", "127.0.0.1");
        check("ｄbc.cloud.databricks.com", "dbc.cloud.databricks.com");
    }

    #[test]
    fn workspace_id_of_a_shared_host_is_kept() {
        for (text, id) in [
            ("https://acme.databricks.com/?o=1140651659712345", Some("1140651659712345")),
            ("acme.databricks.com/jobs/7?w=12#x", Some("12")),
            ("https://localhost:8443/?x=1&workspace_id=12", Some("12")),
            ("westeurope.azuredatabricks.net/?o=12", Some("12")),
            ("acme.databricks.com/?o=", None),
            ("acme.databricks.com/?o=0", None),
            ("acme.databricks.com", None),
            // The name identifies the workspace.
            ("dbc-1.cloud.databricks.com/?o=12", None),
            ("adb-12.3.azuredatabricks.net/?o=12", None),
            ("12.3.gcp.databricks.com/?o=12", None),
        ] {
            let host = Host::parse(text).unwrap();
            assert_eq!(host.workspace_id(), id, "{text}");
            assert!(!host.to_string().contains('?'), "{host}");
        }
        for id in ["1;2", "1%0a2", "ü", &"1".repeat(65)] {
            let text = format!("acme.databricks.com/?o={id}");
            assert_eq!(Host::parse(&text), Err(HostError::WorkspaceId), "{id}");
        }
    }

    #[test]
    fn hosts_match_unless_they_name_different_workspaces() {
        let matches = |one: &str, other: &str| {
            Host::parse(one).unwrap().matches(&Host::parse(other).unwrap())
        };
        assert!(matches("h/?o=1", "h"));
        assert!(matches("h", "h/?o=1"));
        assert!(matches("h/?o=1", "h/?o=1"));
        assert!(!matches("h/?o=1", "h/?o=2"));
        assert!(!matches("h", "h:8443"));
    }

    #[test]
    fn invalid_host_is_rejected() {
        for (text, error) in [
            ("", HostError::Empty),
            (" \n", HostError::Empty),
            ("a b", HostError::Malformed),
            ("a\\b", HostError::Malformed),
            ("a\tb", HostError::Malformed),
            ("https://", HostError::Malformed),
            ("https:///x", HostError::Malformed),
            ("//x", HostError::Malformed),
            ("x:0", HostError::Malformed),
            ("x:99999", HostError::Malformed),
            (".", HostError::Malformed),
            ("a..b", HostError::Malformed),
            ("a..", HostError::Malformed),
            ("a\0b", HostError::Malformed),
            (&format!("{}.cloud.databricks.com", "a".repeat(64)), HostError::Malformed),
            (&format!("{}cloud.databricks.com", "a.".repeat(120)), HostError::Malformed),
            (&"x".repeat(10_000_000), HostError::Malformed),
            ("user@x", HostError::UserInfo),
            ("https://user:password@x", HostError::UserInfo),
            ("https://@x", HostError::UserInfo),
            ("ftp://x", HostError::Scheme),
            ("file:///etc/passwd", HostError::Scheme),
            ("http://dbc-1.cloud.databricks.com", HostError::PlainHttp),
            ("http://10.0.0.1", HostError::PlainHttp),
        ] {
            assert_eq!(Host::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn only_databricks_names_on_port_443_are_databricks_domains() {
        for name in [
            "dbc-1.cloud.databricks.com",
            "adb-1.2.azuredatabricks.net",
            "1.2.gcp.databricks.com",
            "x.databricks.azure.cn",
            "dbc-1.cloud.databricks.mil",
            "x.dev.databricks.com",
        ] {
            assert!(Host::parse(name).unwrap().is_databricks_domain(), "{name}");
        }
        for name in [
            "cloud.databricks.com",
            "dbc-1.cloud.databricks.com.evil.example",
            "evilcloud.databricks.com",
            "databricks.com",
            "dbc-1.cloud.databricks.com:8443",
            "dbc-1.cloud.databricks.comx",
            "127.0.0.1",
            "localhost",
        ] {
            assert!(!Host::parse(name).unwrap().is_databricks_domain(), "{name}");
        }
    }

    #[test]
    fn loopback_is_recognised_in_each_notation() {
        for name in
            ["localhost", "x.localhost", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", "2130706433"]
        {
            assert!(Host::parse(name).unwrap().is_loopback(), "{name}");
        }
        for name in ["10.0.0.1", "localhost.evil.example", "169.254.169.254"] {
            assert!(!Host::parse(name).unwrap().is_loopback(), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn displayed_host_parses_to_the_same_host(text in ".{0,40}") {
            if let Ok(host) = Host::parse(&text) {
                proptest::prop_assert!(Host::parse(host.as_str()).unwrap().matches(&host));
            }
        }
    }
}
