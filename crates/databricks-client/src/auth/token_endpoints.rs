//! The base URLs of the clouds' token endpoints.

/// Overrides the base URLs of the clouds' token endpoints, for tests and for clouds with other names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenEndpoints {
    /// Replaces `https://login.microsoftonline.com/` and its counterparts in other clouds.
    pub azure_login: Option<String>,
    /// Replaces the instance metadata service `http://169.254.169.254`.
    pub azure_metadata: Option<String>,
    /// Replaces the metadata server `http://metadata.google.internal`.
    pub google_metadata: Option<String>,
    /// Replaces `https://iamcredentials.googleapis.com`.
    pub google_iam: Option<String>,
}

/// Returns the override or the default, without a final slash.
pub(super) fn base_url<'a>(url: Option<&'a str>, default: &'a str) -> &'a str {
    url.unwrap_or(default).trim_end_matches('/')
}
