//! Resource meta as bytes: JSON, as the Python server writes it (FC §2.9).

use serde::{Serialize, de::DeserializeOwned};

use crate::Error;

/// The largest resource meta. Flyte stores it in a Kubernetes object with everything else of the task (FC §1.3).
pub const MAX_RESOURCE_META_BYTES: usize = 16 * 1024;

/// Writes it down.
///
/// # Errors
///
/// `Internal` when it does not serialise or is too large: both are faults of the connector.
pub(crate) fn encode(meta: &impl Serialize) -> Result<Vec<u8>, Error> {
    let bytes = serde_json::to_vec(meta).map_err(|error| {
        Error::internal("the resource meta could not be written").with_source(error)
    })?;
    if bytes.len() > MAX_RESOURCE_META_BYTES {
        let size = bytes.len();
        return Err(Error::internal(format!(
            "the resource meta has {size} bytes, more than {MAX_RESOURCE_META_BYTES}"
        )));
    }
    Ok(bytes)
}

/// Reads it back.
///
/// # Errors
///
/// `InvalidMeta` for whatever this connector could not have written. The bytes are not repeated in the message:
/// an older server's meta held a token.
pub(crate) fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, Error> {
    let invalid = |why: String| {
        Error::invalid_meta(format!("the resource meta cannot be read: {why}"))
            .with_hint("it must be the bytes that CreateTask of this connector returned")
    };
    if bytes.is_empty() {
        return Err(invalid("it is empty".to_owned()));
    }
    if bytes.len() > MAX_RESOURCE_META_BYTES {
        return Err(invalid(format!(
            "it has {} bytes, more than {MAX_RESOURCE_META_BYTES}",
            bytes.len()
        )));
    }
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        // serde's own words on a data error may quote the value.
        serde_json::error::Category::Data => invalid(describe(&error)),
        _ => invalid("it is not JSON".to_owned()),
    })
}

/// What a data error says without the value: serde quotes the offending value in "invalid type" and "invalid value".
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("missing field") {
        text
    } else {
        format!("a field has the wrong form (column {})", error.column())
    }
}
