//! SHA-256 digests for names and tokens. Pure.

use sha2::{Digest as _, Sha256};

/// Returns the SHA-256 of the bytes as 64 lowercase hexadecimal characters.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"))
}

/// Joins the parts, each after its length, so that `ab` and `c` differ from `a` and `bc`.
pub fn length_prefixed(parts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes
}
