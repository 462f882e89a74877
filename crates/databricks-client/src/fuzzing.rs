//! What must hold of anything that comes from outside. The fuzz targets in `fuzz/` call this, and this crate's own tests
//! replay what they found.

use crate::{Host, HostPolicy, error_body::ErrorBody};

/// An address as a task or an operator writes it. What is accepted means the same when it is read again, and what the
/// default policy lets through is one of Databricks' own names on the port for TLS.
pub fn host(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(host) = Host::parse(text) else { return };
    assert_eq!(Host::parse(host.as_str()).as_ref(), Ok(&host), "accepted once, accepted always");
    let name = host.name();
    assert!(!name.contains(['@', '/', '\\', '?', '#', '%']) && name.is_ascii(), "{name}");
    assert_eq!(name, name.to_ascii_lowercase(), "names are compared as they are");
    if HostPolicy::databricks_domains().permits(&host).is_ok() {
        assert!(host.is_databricks_domain() && host.port() == 443 && !host.is_plain(), "{host}");
        let owned = [
            "databricks.com",
            "databricks.us",
            "azuredatabricks.net",
            "databricks.azure.us",
            "databricks.azure.cn",
        ];
        assert!(owned.iter().any(|suffix| name.ends_with(&format!(".{suffix}"))), "{name}");
    }
}

/// The body of a failed answer, from Databricks or from anything before it.
pub fn error_answer(bytes: &[u8]) {
    let body = ErrorBody::parse(bytes);
    // Questions about it have answers, whatever it says.
    let _answers = (body.is_transient(), body.is_run_gone(), body.is_bad_target());
}

#[cfg(test)]
mod tests {
    /// Feeds every file of that corpus to the target.
    fn replay(corpus: &str, target: fn(&[u8])) {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(corpus);
        let mut replayed = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            target(&std::fs::read(entry.unwrap().path()).unwrap());
            replayed += 1;
        }
        assert!(replayed > 10, "{replayed} files");
    }

    #[test]
    fn addresses_of_the_corpus_mean_the_same_when_read_again() {
        replay("host", super::host);
    }

    #[test]
    fn error_bodies_of_the_corpus_are_read() {
        replay("error_answer", super::error_answer);
    }
}
