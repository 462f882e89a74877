//! A position in a growing text that can be located again after the start of the text was dropped. Pure.

use serde::{Deserialize, Serialize};

/// The bytes before a position that identify it.
pub(super) const CONTEXT_BYTES: usize = 256;

/// A position in a text: its offset, and a hash of the bytes before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Offset from the start of the text, in bytes.
    #[serde(rename = "o")]
    pub(super) offset: u64,
    /// Hash of the last [`CONTEXT_BYTES`] bytes before the position, or of fewer near the start.
    #[serde(rename = "a")]
    context_hash: u64,
}

impl Position {
    /// Returns how many bytes before the position [`matches`](Self::matches) needs.
    pub(super) fn context_length(self) -> usize {
        usize::try_from(self.offset).unwrap_or(usize::MAX).min(CONTEXT_BYTES)
    }

    /// True if these are the bytes before the position.
    pub(super) fn matches(self, bytes: &[u8]) -> bool {
        bytes.len() == self.context_length()
            && (bytes.is_empty() || hash(bytes) == self.context_hash)
    }

    /// Returns the position `further` bytes on. `before` ends there, and has at least the context.
    #[must_use]
    pub(super) fn advanced(self, further: usize, before: &[u8]) -> Self {
        let offset = self.offset.saturating_add(further as u64);
        let position = Self { offset, context_hash: 0 };
        let from = before.len().saturating_sub(position.context_length());
        Self { context_hash: hash(before.get(from..).unwrap_or_default()), ..position }
    }

    /// Returns the offset of the position in a text that grows at its end and may have lost its start, as the last 5 MB
    /// of an output do (databricks-api.md#runs-get-output). Returns `None` if the bytes before it are gone.
    ///
    /// If several offsets match, the last one is returned, so that no line is repeated.
    pub(super) fn locate(self, text: &[u8]) -> Option<usize> {
        let width = self.context_length();
        let last = usize::try_from(self.offset).unwrap_or(usize::MAX);
        if width == 0 {
            return Some(0);
        }
        if let Some(before) = last.checked_sub(width).and_then(|from| text.get(from..last))
            && hash(before) == self.context_hash
        {
            return Some(last);
        }
        let mut rolling = RollingHash::new(width);
        let mut found = None;
        for (index, byte) in text.iter().enumerate().take(last) {
            let leaving = index.checked_sub(width).and_then(|left| text.get(left));
            rolling.push(*byte, leaving.copied());
            if index + 1 >= width && rolling.value == self.context_hash {
                found = Some(index + 1);
            }
        }
        found
    }
}

/// The base of the polynomial hash: larger than a byte, and odd so that no power of it is zero.
const BASE: u64 = 0x0100_0000_01b3;

/// Polynomial rolling hash. Not resistant to deliberate collisions.
struct RollingHash {
    value: u64,
    /// The factor of the byte that leaves the window.
    weight: u64,
}

impl RollingHash {
    fn new(width: usize) -> Self {
        Self { value: 0, weight: (0..width).fold(1, |weight: u64, _| weight.wrapping_mul(BASE)) }
    }

    fn push(&mut self, byte: u8, leaving: Option<u8>) {
        self.value = self.value.wrapping_mul(BASE).wrapping_add(u64::from(byte) + 1);
        if let Some(leaving) = leaving {
            self.value =
                self.value.wrapping_sub((u64::from(leaving) + 1).wrapping_mul(self.weight));
        }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut rolling = RollingHash::new(0);
    for byte in bytes {
        rolling.push(*byte, None);
    }
    rolling.value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position(text: &[u8], offset: usize) -> Position {
        Position::default().advanced(offset, &text[..offset])
    }

    fn text(lines: usize) -> Vec<u8> {
        (0..lines).flat_map(|n| format!("line {n} of the text\n").into_bytes()).collect()
    }

    #[test]
    fn position_is_located_after_the_start_of_the_text_was_dropped() {
        let whole = text(1_000);
        let here = position(&whole, 9_000);
        assert_eq!(here.locate(&whole), Some(9_000));
        assert_eq!(here.locate(&whole[5_000..]), Some(4_000));
        assert_eq!(here.locate(&whole[8_900..]), None);
        assert_eq!(here.locate(b""), None);
        assert_eq!(Position::default().locate(&whole), Some(0));
    }

    #[test]
    fn position_near_the_start_is_identified_by_all_bytes_before_it() {
        let whole = text(3);
        let here = position(&whole, 7);
        assert_eq!(here.context_length(), 7);
        assert!(here.matches(&whole[..7]));
        assert!(!here.matches(&whole[1..8]));
        assert!(!here.matches(&whole[..6]));
        assert_eq!(here.locate(&whole), Some(7));
    }

    proptest! {
        #[test]
        fn several_small_advances_equal_one_large_advance(
            text in proptest::collection::vec(any::<u8>(), 1..2_000),
            cuts in proptest::collection::vec(0usize..700, 0..8),
        ) {
            let (mut here, mut at) = (Position::default(), 0);
            for cut in cuts {
                let next = (at + cut).min(text.len());
                let from = at.saturating_sub(CONTEXT_BYTES);
                here = here.advanced(next - at, &text[from..next]);
                at = next;
            }
            prop_assert_eq!(here, position(&text, at));
            prop_assert_eq!(here.locate(&text), Some(at));
        }

        #[test]
        fn locating_in_text_without_repetition_loses_and_repeats_nothing(lines in 30usize..400, at in 0usize..400, lost in 0usize..400) {
            let whole = text(lines);
            let starts: Vec<usize> = (0..whole.len()).filter(|i| *i == 0 || whole[i - 1] == b'\n').collect();
            let at = starts[at % starts.len()];
            let lost = starts[lost % starts.len()];
            match position(&whole, at).locate(&whole[lost..]) {
                Some(found) => prop_assert_eq!(found + lost, at.max(lost)),
                // Too little context is left.
                None => prop_assert!(at < lost + CONTEXT_BYTES),
            }
        }
    }
}
