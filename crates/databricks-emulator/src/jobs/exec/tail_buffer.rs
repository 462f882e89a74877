//! Keeps the end of the output of a process.

use std::collections::VecDeque;

/// The last bytes of a stream, up to a limit.
#[derive(Debug)]
pub(super) struct TailBuffer {
    bytes: VecDeque<u8>,
    limit: usize,
    truncated: bool,
}

impl TailBuffer {
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: VecDeque::new(), limit, truncated: false }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let excess = self.bytes.len().saturating_sub(self.limit);
        self.truncated |= excess > 0;
        self.bytes.drain(..excess);
    }

    /// True if bytes were dropped.
    pub(super) fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Returns the bytes as text, starting at a character boundary. Invalid UTF-8 is replaced.
    pub(super) fn text(&self) -> String {
        let is_continuation = |byte: &&u8| self.truncated && **byte & 0b1100_0000 == 0b1000_0000;
        let skipped = self.bytes.iter().take(3).take_while(is_continuation).count();
        let bytes: Vec<u8> = self.bytes.iter().skip(skipped).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_is_kept_from_a_character_boundary() {
        let mut tail = TailBuffer::new(4);
        tail.push("ab".as_bytes());
        tail.push("cd".as_bytes());
        assert_eq!((tail.text().as_str(), tail.is_truncated()), ("abcd", false));
        tail.push("ä".as_bytes());
        assert_eq!((tail.text().as_str(), tail.is_truncated()), ("cdä", true));
        tail.push("efg".as_bytes());
        assert_eq!(tail.text(), "efg");
        tail.push(&[b'h', 0xff]);
        assert_eq!(tail.text(), "fgh\u{fffd}");
    }
}
