//! Which hosts may receive a token.

use std::str::FromStr;

use super::Host;

/// Replaces `*` while a pattern is parsed and normalized as a host.
const PLACEHOLDER: &str = "any-label-placeholder";

/// A pattern for hosts: `host[:port]`, where `*` matches one label of the name or any port. The default port is 443. A
/// pattern for loopback also matches plain HTTP on its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    labels: Vec<Label>,
    port: Port,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Label {
    Any,
    Exactly(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Any,
    Exactly(u16),
}

/// The text is not a host pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host pattern; expected `host` or `host:port`, with `*` for one label or any port")]
pub struct InvalidHostPattern;

impl HostPattern {
    /// Returns the pattern that matches only this host.
    pub fn exactly(host: &Host) -> Self {
        Self { labels: labels(host.name()), port: Port::Exactly(host.port()) }
    }

    /// True if the pattern matches this host.
    pub fn matches(&self, host: &Host) -> bool {
        let port = match self.port {
            Port::Any => true,
            Port::Exactly(port) => port == host.port(),
        };
        let name = labels(host.name());
        port && self.labels.len() == name.len()
            && self
                .labels
                .iter()
                .zip(&name)
                .all(|(wanted, label)| *wanted == Label::Any || wanted == label)
    }
}

/// Splits a name into labels. An IP address is one label.
fn labels(name: &str) -> Vec<Label> {
    if name.starts_with('[') || name.parse::<std::net::IpAddr>().is_ok() {
        return vec![Label::Exactly(name.to_owned())];
    }
    name.split('.')
        .map(|label| if label == "*" { Label::Any } else { Label::Exactly(label.to_owned()) })
        .collect()
}

impl FromStr for HostPattern {
    type Err = InvalidHostPattern;

    fn from_str(text: &str) -> Result<Self, InvalidHostPattern> {
        let text = text.trim();
        let (plain, text) = match text.split_once("://") {
            None => (false, text),
            Some(("https", rest)) => (false, rest),
            Some(("http", rest)) => (true, rest),
            Some(_) => return Err(InvalidHostPattern),
        };
        let text = text.trim_end_matches('/');
        let (name, any_port) = match text.strip_suffix(":*") {
            Some(name) => (name, true),
            None => (text, false),
        };
        if name.contains(['/', '?', '#', '@']) || name.contains("**") || name.contains(PLACEHOLDER)
        {
            return Err(InvalidHostPattern);
        }
        let labels_or_placeholders: Vec<&str> =
            name.split('.').map(|label| if label == "*" { PLACEHOLDER } else { label }).collect();
        let scheme = if plain { "http" } else { "https" };
        let host = Host::parse(&format!("{scheme}://{}", labels_or_placeholders.join(".")))
            .map_err(|_invalid| InvalidHostPattern)?;
        let name = host.name().replace(PLACEHOLDER, "*");
        if name.split('.').all(|label| label == "*")
            || name.split('.').any(|label| label != "*" && label.contains('*'))
        {
            return Err(InvalidHostPattern);
        }
        Ok(Self {
            labels: labels(&name),
            port: if any_port { Port::Any } else { Port::Exactly(host.port()) },
        })
    }
}

/// Which hosts may receive a token: Databricks domains and an allow list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPolicy {
    allowed: Vec<HostPattern>,
}

/// A host that may not receive a token. The operator can add it to the allow list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host} is not allowed: {}, and it is not in the list of allowed hosts", reason(host))]
pub struct HostNotAllowed {
    host: Host,
}

impl HostNotAllowed {
    /// Returns the host.
    pub fn host(&self) -> &Host {
        &self.host
    }
}

/// Returns why a host is not a Databricks domain.
fn reason(host: &Host) -> &'static str {
    if host.is_loopback() {
        "it is a loopback address"
    } else if host.ip().is_some() {
        "it is an IP address"
    } else if host.has_databricks_name() {
        "its port is not 443"
    } else {
        "it is not a Databricks domain"
    }
}

impl HostPolicy {
    /// Returns a policy that allows only Databricks domains.
    pub fn databricks_domains() -> Self {
        Self { allowed: Vec::new() }
    }

    /// Adds a pattern to the allow list.
    #[must_use]
    pub fn allow(mut self, pattern: HostPattern) -> Self {
        self.allowed.push(pattern);
        self
    }

    /// Checks whether a host may receive a token. Does not check resolved addresses, since Private Link resolves
    /// Databricks names to private ones.
    ///
    /// # Errors
    ///
    /// [`HostNotAllowed`] if it may not.
    pub fn check(&self, host: &Host) -> Result<(), HostNotAllowed> {
        if host.is_databricks_domain() || self.allowed.iter().any(|pattern| pattern.matches(host)) {
            Ok(())
        } else {
            Err(HostNotAllowed { host: host.clone() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, allowed: &[&str], rejected: &[&str]) {
        let policy = HostPolicy::databricks_domains().allow(pattern.parse().unwrap());
        for host in allowed {
            assert!(policy.check(&host.parse().unwrap()).is_ok(), "{pattern} {host}");
        }
        for host in rejected {
            assert!(policy.check(&host.parse().unwrap()).is_err(), "{pattern} {host}");
        }
    }

    #[test]
    fn star_matches_one_label_or_any_port() {
        check(
            "*.corp.example",
            &["dbx.corp.example"],
            &["corp.example", "a.b.corp.example", "dbx.corp.example:8443"],
        );
        check(
            "dbx.corp.example:*",
            &["dbx.corp.example", "dbx.corp.example:8443"],
            &["x.corp.example"],
        );
        check("a.*.example:8443", &["a.b.example:8443"], &["a.b.example", "a.b.c.example:8443"]);
    }

    #[test]
    fn loopback_is_allowed_if_listed() {
        check(
            "localhost:8443",
            &["localhost:8443", "http://localhost:8443"],
            &["localhost", "127.0.0.1:8443"],
        );
        check("http://127.0.0.1:8080", &["http://127.0.0.1:8080"], &["http://127.0.0.1:8081"]);
        check("[::1]:*", &["[::1]:1", "http://[::1]:2"], &["localhost:1"]);
    }

    #[test]
    fn error_names_the_violated_rule() {
        let policy = HostPolicy::databricks_domains();
        let error = |host: &str| policy.check(&host.parse().unwrap()).unwrap_err().to_string();
        for (host, why) in [
            ("http://127.0.0.1:80", "it is a loopback address"),
            ("10.0.0.1", "it is an IP address"),
            ("dbc-1.cloud.databricks.com:8443", "its port is not 443"),
            ("cloud.databricks.com.evil.example", "it is not a Databricks domain"),
        ] {
            assert!(error(host).contains(why), "{}", error(host));
        }
        assert!(policy.check(&"dbc-1.cloud.databricks.com".parse().unwrap()).is_ok());
    }

    #[test]
    fn invalid_pattern_is_rejected() {
        for text in [
            "",
            "*",
            "*.*",
            "*:*",
            "x*.example",
            "a/b",
            "user@x",
            "http://x.example",
            "ftp://x",
            "x:0",
            "a..b",
            "x:y",
            "any-label-placeholder.example",
        ] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn exact_pattern_matches_only_its_host() {
        let host: Host = "dbx.corp.example:8443".parse().unwrap();
        let pattern = HostPattern::exactly(&host);
        assert!(pattern.matches(&host));
        assert!(!pattern.matches(&"dbx.corp.example".parse().unwrap()));
        let ip: Host = "http://127.0.0.1:8080".parse().unwrap();
        assert!(HostPattern::exactly(&ip).matches(&ip));
    }
}
