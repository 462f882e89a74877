//! The address of a workspace.

use std::{fmt, net::IpAddr, str::FromStr};

use url::Url;

/// Suffixes of Databricks' own domains (DA §4.3).
const DATABRICKS_SUFFIXES: [&str; 6] = [
    ".cloud.databricks.com",
    ".cloud.databricks.us",
    ".azuredatabricks.net",
    ".databricks.azure.us",
    ".databricks.azure.cn",
    ".gcp.databricks.com",
];

const HTTPS_PORT: u16 = 443;

/// The longest name that DNS knows, and its longest label, in bytes (RFC 1035 §2.3.4). A task chooses its host, and every
/// host is remembered.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// The address of a workspace: scheme, host name and port, normalised. It shows as `host`, `host:port`, or, for plain
/// HTTP on loopback, `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host {
    shown: String,
    name: String,
    port: u16,
    plain: bool,
}

/// Why a text is not the address of a workspace. The text itself is not repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// Nothing there.
    #[error("the address is empty")]
    Empty,
    /// Not an address at all.
    #[error("the text is not an address; write a host such as dbc-1234.cloud.databricks.com")]
    Malformed,
    /// A name or password in front of the host.
    #[error("the address holds a user name or a password")]
    UserInfo,
    /// Neither https nor http.
    #[error("the scheme is not https")]
    Scheme,
    /// Plain HTTP to another machine.
    #[error("plain http is for loopback only; use https")]
    PlainHttp,
}

impl Host {
    /// Reads `host`, `host:port` or a pasted address, whose path, query and fragment are dropped.
    ///
    /// # Errors
    ///
    /// [`HostError`] for what is not the address of a workspace.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        // The URL standard drops tabs and line ends and takes backslashes for slashes; nobody means that.
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
        // One final dot means the same name, written out in full.
        let name = name.strip_suffix('.').unwrap_or(name).to_owned();
        if name.is_empty()
            || name.len() > MAX_NAME
            || name.split('.').any(|label| label.is_empty() || label.len() > MAX_LABEL)
        {
            return Err(HostError::Malformed);
        }
        let plain = url.scheme() == "http";
        let port = url.port().unwrap_or(if plain { 80 } else { HTTPS_PORT });
        if port == 0 {
            return Err(HostError::Malformed);
        }
        let shown = match (plain, port) {
            (false, HTTPS_PORT) => name.clone(),
            (false, port) => format!("{name}:{port}"),
            (true, 80) => format!("http://{name}"),
            (true, port) => format!("http://{name}:{port}"),
        };
        let host = Self { shown, name, port, plain };
        if plain && !host.is_loopback() {
            return Err(HostError::PlainHttp);
        }
        Ok(host)
    }

    /// The address as it is shown and stored.
    pub fn as_str(&self) -> &str {
        &self.shown
    }

    /// The address with its scheme and without a final slash.
    pub fn base_url(&self) -> String {
        if self.plain { self.shown.clone() } else { format!("https://{}", self.shown) }
    }

    /// The host name or bracketed address alone, in lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is plain HTTP.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Whether it is one of Databricks' own domains, on the port of HTTPS.
    pub fn is_databricks_domain(&self) -> bool {
        !self.plain && self.port == HTTPS_PORT && self.has_databricks_name()
    }

    /// Whether its name, whatever the port, is below one of Databricks' own domains.
    pub(crate) fn has_databricks_name(&self) -> bool {
        DATABRICKS_SUFFIXES.iter().any(|suffix| {
            self.name
                .strip_suffix(suffix)
                .is_some_and(|label| !label.is_empty() && !label.starts_with('.'))
        })
    }

    /// Whether it is an IP address, in whatever notation.
    pub fn is_ip_literal(&self) -> bool {
        self.ip().is_some()
    }

    /// Whether it can only be this machine.
    pub fn is_loopback(&self) -> bool {
        self.name == "localhost"
            || self.name.ends_with(".localhost")
            || self.ip().is_some_and(|ip| ip.to_canonical().is_loopback())
    }

    fn ip(&self) -> Option<IpAddr> {
        self.name.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

/// What stands between the scheme and the first slash, question mark or hash.
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
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, shown: &str) {
        assert_eq!(Host::parse(text).as_ref().map(Host::as_str), Ok(shown), "{text}");
    }

    #[test]
    fn a_pasted_address_becomes_its_host() {
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
    fn what_is_no_address_is_refused() {
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
    fn only_databricks_own_names_on_the_port_of_https_are_databricks() {
        for name in [
            "dbc-1.cloud.databricks.com",
            "adb-1.2.azuredatabricks.net",
            "1.2.gcp.databricks.com",
            "x.databricks.azure.cn",
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
    fn loopback_is_known_in_every_notation() {
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
        fn any_text_is_an_address_or_an_error_and_an_address_is_its_own_normal_form(text in ".{0,40}") {
            if let Ok(host) = Host::parse(&text) {
                proptest::prop_assert_eq!(Host::parse(host.as_str()), Ok(host));
            }
        }
    }
}
