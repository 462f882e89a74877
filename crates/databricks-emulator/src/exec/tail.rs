//! The end of what a process writes.

use std::collections::VecDeque;

/// The latest bytes, at most so many.
#[derive(Debug)]
pub(super) struct Tail {
    bytes: VecDeque<u8>,
    limit: usize,
    truncated: bool,
}

impl Tail {
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: VecDeque::new(), limit, truncated: false }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let excess = self.bytes.len().saturating_sub(self.limit);
        self.truncated |= excess > 0;
        self.bytes.drain(..excess);
    }

    /// Whether something is missing.
    pub(super) fn truncated(&self) -> bool {
        self.truncated
    }

    /// As text, from the first whole character on. What is no UTF-8 is replaced.
    pub(super) fn text(&self) -> String {
        let is_rest_of_character =
            |byte: &&u8| self.truncated && **byte & 0b1100_0000 == 0b1000_0000;
        let rest = self.bytes.iter().take(3).take_while(is_rest_of_character).count();
        let bytes: Vec<u8> = self.bytes.iter().skip(rest).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_in_whole_characters() {
        let mut tail = Tail::new(4);
        tail.push("ab".as_bytes());
        tail.push("cd".as_bytes());
        assert_eq!((tail.text().as_str(), tail.truncated()), ("abcd", false));
        tail.push("ä".as_bytes());
        assert_eq!((tail.text().as_str(), tail.truncated()), ("cdä", true));
        tail.push("efg".as_bytes());
        assert_eq!(tail.text(), "efg");
        tail.push(&[b'h', 0xff]);
        assert_eq!(tail.text(), "fgh\u{fffd}");
    }
}
