//! Invariants for arbitrary input. Called by the fuzz targets in `fuzz/`, and by tests that replay their corpora.

use crate::{Host, HostPolicy, error::ErrorBody};

/// Checks a host. An accepted text parses to the same host again, and the default policy allows only Databricks names
/// on port 443.
pub fn host(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(host) = Host::parse(text) else { return };
    assert_eq!(
        Host::parse(host.as_str()).as_ref(),
        Ok(&host),
        "the displayed host parses to the same host"
    );
    let name = host.name();
    assert!(!name.contains(['@', '/', '\\', '?', '#', '%']) && name.is_ascii(), "{name}");
    assert_eq!(name, name.to_ascii_lowercase(), "names are lower case");
    if HostPolicy::databricks_domains().check(&host).is_ok() {
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

/// Checks an error body.
pub fn error_answer(bytes: &[u8]) {
    let body = ErrorBody::parse(bytes);
    let _results = (body.is_transient(), body.is_run_not_found(), body.is_unknown_api_version());
}

#[cfg(test)]
mod tests {
    /// Calls the target with each file of a corpus.
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
    fn hosts_of_the_corpus_keep_the_invariants() {
        replay("host", super::host);
    }

    #[test]
    fn error_bodies_of_the_corpus_are_parsed() {
        replay("error_answer", super::error_answer);
    }
}
