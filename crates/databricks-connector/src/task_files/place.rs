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
            Some((bucket, key)) if bucket.is_empty() == (kind == Kind::Disk) && !key.is_empty() => {
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
    }
}
