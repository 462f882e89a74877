//! URLs of files.

/// A parsed URL of a file. The key is not percent-decoded: Flyte writes it without escapes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StorageUrl<'a> {
    pub(crate) kind: Kind,
    pub(crate) scheme: &'a str,
    /// Bucket or container, with the account on Azure (`container@account`).
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    S3,
    Gs,
    Abfs,
}

impl Kind {
    /// True if the text is a bucket name of this kind. Store clients build host names from buckets, so characters that
    /// would change the host are rejected.
    fn is_bucket(self, bucket: &str) -> bool {
        let is_name = |text: &str| {
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || ".-_$".contains(c);
            !text.is_empty() && text.chars().all(is_allowed)
        };
        match self {
            Self::File => bucket.is_empty(),
            Self::S3 | Self::Gs => is_name(bucket),
            Self::Abfs => match bucket.split_once('@') {
                Some((container, account)) => is_name(container) && is_name(account),
                None => is_name(bucket),
            },
        }
    }
}

impl<'a> StorageUrl<'a> {
    /// Parses the URL of a file.
    ///
    /// # Errors
    ///
    /// A clause that describes the problem.
    pub(crate) fn parse(url: &'a str) -> Result<Self, String> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(format!("`{url}` has no scheme"));
        };
        let kind = match scheme {
            "file" => Kind::File,
            "s3" | "s3a" => Kind::S3,
            "gs" => Kind::Gs,
            "abfs" | "abfss" => Kind::Abfs,
            _ => return Err(format!("the scheme `{scheme}` is not supported")),
        };
        match rest.split_once('/') {
            Some((bucket, key)) if kind.is_bucket(bucket) && !key.is_empty() => {
                Ok(Self { kind, scheme, bucket, key })
            }
            _ => Err(format!("`{url}` is not the URL of a file")),
        }
    }

    /// Returns the bucket or container, without the account.
    pub(crate) fn bucket_name(&self) -> &str {
        self.bucket.split('@').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_split_into_bucket_and_key() {
        let url = StorageUrl::parse("abfss://c@a.dfs.core.windows.net/x/error.pb").unwrap();
        assert_eq!((url.bucket_name(), url.key), ("c", "x/error.pb"));
        assert_eq!(StorageUrl::parse("s3a://b/a=b/c").unwrap().key, "a=b/c");
        assert_eq!(StorageUrl::parse("s3://My_b.u-1/k#?@").unwrap().bucket_name(), "My_b.u-1");
        assert_eq!(StorageUrl::parse("file:///a b/c").unwrap().key, "a b/c");
    }

    #[test]
    fn buckets_that_would_change_the_host_are_rejected() {
        for url in [
            "s3://evil.example#x/k",
            "s3://evil.example?x/k",
            "s3://evil.example:443/k",
            "s3://a@evil.example/k",
            "gs://evil.example\\x/k",
            "gs://a b/k",
            "gs://a@b/k",
            "abfss://c:p@a.dfs.core.windows.net/k",
            "abfss://c@d@a.dfs.core.windows.net/k",
            "abfss://c@a.dfs.core.windows.net#/k",
        ] {
            assert!(
                StorageUrl::parse(url).unwrap_err().ends_with("is not the URL of a file"),
                "{url}"
            );
        }
    }
}
