//! Which hosts a token may be sent to.

use std::str::FromStr;

use crate::Host;

/// Stands in for `*`, so that a pattern can be read and normalised as any other address.
const LABEL: &str = "any-label-stands-here";

/// A pattern for hosts: `host[:port]`, where `*` stands for one label of the name or for any port. Without a port it
/// means the port of HTTPS. A pattern for loopback permits plain HTTP at its port too.
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

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host pattern; write `host` or `host:port`, with `*` for one label or any port")]
pub struct InvalidHostPattern;

impl HostPattern {
    /// The pattern that means this host alone.
    pub fn exactly(host: &Host) -> Self {
        Self { labels: labels(host.name()), port: Port::Exactly(host.port()) }
    }

    /// Whether the pattern means this host.
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

/// An IP address is one label: its dots part no names.
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
        if name.contains(['/', '?', '#', '@']) || name.contains("**") || name.contains(LABEL) {
            return Err(InvalidHostPattern);
        }
        let stood_in: Vec<&str> =
            name.split('.').map(|label| if label == "*" { LABEL } else { label }).collect();
        let scheme = if plain { "http" } else { "https" };
        let host = Host::parse(&format!("{scheme}://{}", stood_in.join(".")))
            .map_err(|_invalid| InvalidHostPattern)?;
        let name = host.name().replace(LABEL, "*");
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

/// Which hosts a token may be sent to: Databricks' own domains, and what is listed beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPolicy {
    listed: Vec<HostPattern>,
}

/// Why a host may not be called. The operator can list it, if it is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{host} is not allowed: {}, and it is not listed beside Databricks' own domains",
    why(host)
)]
pub struct HostRefused {
    host: Host,
}

impl HostRefused {
    /// The host that may not be called.
    pub fn host(&self) -> &Host {
        &self.host
    }
}

/// What keeps a host from being one of Databricks' own.
fn why(host: &Host) -> &'static str {
    if host.is_loopback() {
        "it is this machine itself"
    } else if host.is_ip_literal() {
        "it is an IP address"
    } else if host.has_databricks_name() {
        "its port is not 443"
    } else {
        "it is not a Databricks domain"
    }
}

impl HostPolicy {
    /// Databricks' own domains and nothing else.
    pub fn databricks_domains() -> Self {
        Self { listed: Vec::new() }
    }

    /// Lists a pattern beside them.
    #[must_use]
    pub fn allow(mut self, pattern: HostPattern) -> Self {
        self.listed.push(pattern);
        self
    }

    /// Whether a token may be sent there. Resolved addresses are not judged: Private Link resolves Databricks' own names
    /// to private ones.
    ///
    /// # Errors
    ///
    /// [`HostRefused`] when it may not.
    pub fn permits(&self, host: &Host) -> Result<(), HostRefused> {
        if host.is_databricks_domain() || self.listed.iter().any(|pattern| pattern.matches(host)) {
            Ok(())
        } else {
            Err(HostRefused { host: host.clone() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, permitted: &[&str], refused: &[&str]) {
        let policy = HostPolicy::databricks_domains().allow(pattern.parse().unwrap());
        for host in permitted {
            assert!(policy.permits(&host.parse().unwrap()).is_ok(), "{pattern} {host}");
        }
        for host in refused {
            assert!(policy.permits(&host.parse().unwrap()).is_err(), "{pattern} {host}");
        }
    }

    #[test]
    fn a_star_is_one_label_or_any_port() {
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
    fn loopback_is_permitted_when_it_is_listed() {
        check(
            "localhost:8443",
            &["localhost:8443", "http://localhost:8443"],
            &["localhost", "127.0.0.1:8443"],
        );
        check("http://127.0.0.1:8080", &["http://127.0.0.1:8080"], &["http://127.0.0.1:8081"]);
        check("[::1]:*", &["[::1]:1", "http://[::1]:2"], &["localhost:1"]);
    }

    #[test]
    fn a_refusal_tells_the_rule() {
        let policy = HostPolicy::databricks_domains();
        let refusal = |host: &str| policy.permits(&host.parse().unwrap()).unwrap_err().to_string();
        for (host, why) in [
            ("http://127.0.0.1:80", "it is this machine itself"),
            ("10.0.0.1", "it is an IP address"),
            ("dbc-1.cloud.databricks.com:8443", "its port is not 443"),
            ("cloud.databricks.com.evil.example", "it is not a Databricks domain"),
        ] {
            assert!(refusal(host).contains(why), "{}", refusal(host));
        }
        assert!(policy.permits(&"dbc-1.cloud.databricks.com".parse().unwrap()).is_ok());
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
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
            "any-label-stands-here.example",
        ] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_pattern_of_a_host_means_that_host_alone() {
        let host: Host = "dbx.corp.example:8443".parse().unwrap();
        let pattern = HostPattern::exactly(&host);
        assert!(pattern.matches(&host));
        assert!(!pattern.matches(&"dbx.corp.example".parse().unwrap()));
        let ip: Host = "http://127.0.0.1:8080".parse().unwrap();
        assert!(HostPattern::exactly(&ip).matches(&ip));
    }
}
