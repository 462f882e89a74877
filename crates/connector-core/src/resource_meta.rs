//! Encodes resource meta as JSON, as the Python server does (flyte-contract.md#python-requests).

use serde::{Serialize, de::DeserializeOwned};

use crate::Error;

/// Size limit of encoded resource meta. Flyte stores it in a Kubernetes object together with the rest of the task's state
/// (flyte-contract.md#createtask).
pub const MAX_RESOURCE_META_BYTES: usize = 16 * 1024;

/// Encodes resource meta.
///
/// # Errors
///
/// `Internal` when it cannot be serialized or is too large.
pub(crate) fn encode(meta: &impl Serialize) -> Result<Vec<u8>, Error> {
    let bytes = serde_json::to_vec(meta).map_err(|error| {
        Error::internal("the resource meta cannot be serialized").with_source(error)
    })?;
    if bytes.len() > MAX_RESOURCE_META_BYTES {
        let size = bytes.len();
        return Err(Error::internal(format!(
            "the resource meta has {size} bytes, more than the limit of {MAX_RESOURCE_META_BYTES}"
        )));
    }
    Ok(bytes)
}

/// Decodes resource meta.
///
/// # Errors
///
/// `InvalidMeta` for bytes that [`encode`] cannot have written. The message does not quote them, because meta from an
/// older server can contain a token.
pub(crate) fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, Error> {
    let invalid = |why: String| {
        Error::invalid_meta(format!("the resource meta cannot be decoded: {why}"))
            .with_hint("pass the bytes that CreateTask of this connector returned")
    };
    if bytes.is_empty() {
        return Err(invalid("it is empty".to_owned()));
    }
    if bytes.len() > MAX_RESOURCE_META_BYTES {
        return Err(invalid(format!(
            "it has {} bytes, more than the limit of {MAX_RESOURCE_META_BYTES}",
            bytes.len()
        )));
    }
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => invalid(describe(&error)),
        _ => invalid("it is not JSON".to_owned()),
    })
}

/// Describes a data error without the value, which serde quotes in "invalid type" and "invalid value".
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("missing field") {
        text
    } else {
        format!("a field has the wrong type or value (column {})", error.column())
    }
}
