//! Where a file is, by its address.

/// An address, parted. Keys are taken as they are: Flyte writes them without escapes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) kind: Kind,
    pub(super) scheme: &'a str,
    /// With the account, where the store has one.
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Disk,
    S3,
    Gs,
    Abfs,
}

impl Kind {
    /// Whether it can be the name of a bucket. Stores make hosts of names, so a name has nothing else in it; Azure's has
    /// the account behind the container.
    fn takes(self, bucket: &str) -> bool {
        let is_name = |text: &str| {
            let is_of_names = |c: char| c.is_ascii_alphanumeric() || ".-_$".contains(c);
            !text.is_empty() && text.chars().all(is_of_names)
        };
        match self {
            Self::Disk => bucket.is_empty(),
            Self::S3 | Self::Gs => is_name(bucket),
            Self::Abfs => match bucket.split_once('@') {
                Some((container, account)) => is_name(container) && is_name(account),
                None => is_name(bucket),
            },
        }
    }
}

impl<'a> Place<'a> {
    /// The parts of an address.
    ///
    /// # Errors
    ///
    /// A clause that says what is wrong with it.
    pub(super) fn parse(url: &'a str) -> Result<Self, String> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(format!("`{url}` has no scheme"));
        };
        let kind = match scheme {
            "file" => Kind::Disk,
            "s3" | "s3a" => Kind::S3,
            "gs" => Kind::Gs,
            "abfs" | "abfss" => Kind::Abfs,
            _ => return Err(format!("files of scheme `{scheme}` are not read")),
        };
        match rest.split_once('/') {
            Some((bucket, key)) if kind.takes(bucket) && !key.is_empty() => {
                Ok(Self { kind, scheme, bucket, key })
            }
            _ => Err(format!("`{url}` is not the address of a file")),
        }
    }

    /// The bucket or container without the account.
    pub(super) fn bucket_name(&self) -> &str {
        self.bucket.split('@').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_parted_into_bucket_and_key() {
        let place = Place::parse("abfss://c@a.dfs.core.windows.net/x/error.pb").unwrap();
        assert_eq!((place.bucket_name(), place.key), ("c", "x/error.pb"));
        assert_eq!(Place::parse("s3a://b/a=b/c").unwrap().key, "a=b/c");
        assert_eq!(Place::parse("s3://My_b.u-1/k#?@").unwrap().bucket_name(), "My_b.u-1");
        assert_eq!(Place::parse("file:///a b/c").unwrap().key, "a b/c");
    }

    #[test]
    fn a_bucket_is_a_name_and_nothing_that_makes_another_host_of_an_address() {
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
                Place::parse(url).unwrap_err().ends_with("is not the address of a file"),
                "{url}"
            );
        }
    }
}
