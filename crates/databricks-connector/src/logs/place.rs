//! Where in a growing text a reader is, so that it can be found again when the text has moved. Pure.

use serde::{Deserialize, Serialize};

/// How many bytes before a place stand for it.
pub(super) const ANCHOR: usize = 256;

/// A place in a text: how far from its start, and what stands before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// In bytes.
    #[serde(rename = "o")]
    pub(super) offset: u64,
    /// A hash of the bytes before it, at most [`ANCHOR`].
    #[serde(rename = "a")]
    anchor: u64,
}

/// Where a place is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// So many bytes from the start.
    At(usize),
    /// Nowhere: what stood before it is gone.
    Lost,
}

impl Place {
    /// How many bytes before it are needed to know it again.
    pub(super) fn anchor_bytes(self) -> usize {
        usize::try_from(self.offset).unwrap_or(usize::MAX).min(ANCHOR)
    }

    /// Whether these are the bytes before it.
    pub(super) fn follows(self, bytes: &[u8]) -> bool {
        bytes.len() == self.anchor_bytes() && (bytes.is_empty() || hash(bytes) == self.anchor)
    }

    /// The place behind `before`, of which only the last bytes count, `further` bytes on.
    #[must_use]
    pub(super) fn on(self, further: usize, before: &[u8]) -> Self {
        let offset = self.offset.saturating_add(further as u64);
        let place = Self { offset, anchor: 0 };
        let from = before.len().saturating_sub(place.anchor_bytes());
        Self { anchor: hash(before.get(from..).unwrap_or_default()), ..place }
    }

    /// Where it is in a text that grows at its end and may have lost its start, as the last 5 MB of an output do
    /// (DA §1.4). The latest of several places that look the same is taken, so that nothing is repeated.
    pub(super) fn find(self, text: &[u8]) -> Found {
        let width = self.anchor_bytes();
        let last = usize::try_from(self.offset).unwrap_or(usize::MAX);
        if width == 0 {
            return Found::At(0);
        }
        if let Some(before) = last.checked_sub(width).and_then(|from| text.get(from..last))
            && hash(before) == self.anchor
        {
            return Found::At(last);
        }
        let mut rolling = Rolling::new(width);
        let mut found = Found::Lost;
        for (index, byte) in text.iter().enumerate().take(last) {
            let leaving = index.checked_sub(width).and_then(|left| text.get(left));
            rolling.push(*byte, leaving.copied());
            if index + 1 >= width && rolling.value == self.anchor {
                found = Found::At(index + 1);
            }
        }
        found
    }
}

/// A number that no byte is, odd so that no power of it is zero.
const BASE: u64 = 0x0100_0000_01b3;

/// A hash that can be moved along a text. It tells places apart; it does not withstand somebody who wants them alike.
struct Rolling {
    value: u64,
    /// What the byte that leaves has become.
    weight: u64,
}

impl Rolling {
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
    let mut rolling = Rolling::new(0);
    for byte in bytes {
        rolling.push(*byte, None);
    }
    rolling.value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The place so many bytes from the start.
    fn place(text: &[u8], offset: usize) -> Place {
        Place::default().on(offset, &text[..offset])
    }

    fn text(lines: usize) -> Vec<u8> {
        (0..lines).flat_map(|n| format!("line {n} of the text\n").into_bytes()).collect()
    }

    #[test]
    fn a_place_is_found_again_when_the_start_of_the_text_is_lost() {
        let whole = text(1_000);
        let here = place(&whole, 9_000);
        assert_eq!(here.find(&whole), Found::At(9_000));
        assert_eq!(here.find(&whole[5_000..]), Found::At(4_000));
        assert_eq!(here.find(&whole[8_900..]), Found::Lost);
        assert_eq!(here.find(b""), Found::Lost);
        assert_eq!(Place::default().find(&whole), Found::At(0));
    }

    #[test]
    fn a_place_near_the_start_is_known_by_all_that_is_before_it() {
        let whole = text(3);
        let here = place(&whole, 7);
        assert_eq!(here.anchor_bytes(), 7);
        assert!(here.follows(&whole[..7]));
        assert!(!here.follows(&whole[1..8]));
        assert!(!here.follows(&whole[..6]));
        assert_eq!(here.find(&whole), Found::At(7));
    }

    proptest! {
        #[test]
        fn steps_lead_to_the_same_place_as_one_leap(
            text in proptest::collection::vec(any::<u8>(), 1..2_000),
            cuts in proptest::collection::vec(0usize..700, 0..8),
        ) {
            let (mut here, mut at) = (Place::default(), 0);
            for cut in cuts {
                let next = (at + cut).min(text.len());
                let from = at.saturating_sub(ANCHOR);
                here = here.on(next - at, &text[from..next]);
                at = next;
            }
            prop_assert_eq!(here, place(&text, at));
            prop_assert_eq!(here.find(&text), Found::At(at));
        }

        #[test]
        fn a_text_without_repetition_loses_and_repeats_nothing(lines in 30usize..400, at in 0usize..400, lost in 0usize..400) {
            let whole = text(lines);
            let starts: Vec<usize> = (0..whole.len()).filter(|i| *i == 0 || whole[i - 1] == b'\n').collect();
            let at = starts[at % starts.len()];
            let lost = starts[lost % starts.len()];
            match place(&whole, at).find(&whole[lost..]) {
                Found::At(found) => prop_assert_eq!(found + lost, at.max(lost)),
                // Too little of what stood before is left to be sure.
                Found::Lost => prop_assert!(at < lost + ANCHOR),
            }
        }
    }
}
