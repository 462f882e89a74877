//! Splits bytes that arrive in pieces into lines. Pure.

use connector_core::Originator;

/// The longest line, in bytes. A longer one is split into several lines without a line ending.
pub(super) const MAX_LINE: usize = 64 * 1024;

/// The longest system line, in characters.
const MAX_SYSTEM_LINE: usize = 4_000;

/// What follows the last byte of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BufferEnd {
    /// More bytes may follow: an unfinished line is held back.
    Open,
    /// The next file of the same stream: an unfinished line is returned without an ending, and continues there.
    NextFile,
    /// Nothing: an unfinished line is complete, and gets the line ending that it lacks (flyte-contract.md#logs-and-metrics).
    StreamEnd,
}

/// Returns the length of the first line with its ending: CRLF, CR or LF (flyte-contract.md#logs-and-metrics). Returns
/// `None` while the line is unfinished. No byte of a multi-byte UTF-8 character is a line ending, so none is split.
pub(super) fn first_line_length(bytes: &[u8], end: BufferEnd) -> Option<usize> {
    let window = bytes.get(..MAX_LINE).unwrap_or(bytes);
    let ending = window.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    match ending.map(|at| (at, bytes.get(at), bytes.get(at + 1))) {
        Some((at, Some(b'\r'), Some(b'\n'))) => Some(at + 2),
        // A line feed may follow.
        Some((_, Some(b'\r'), None)) if end == BufferEnd::Open => None,
        Some((at, ..)) => Some(at + 1),
        None if bytes.len() > MAX_LINE => Some(character_boundary(window)),
        None if end == BufferEnd::Open || bytes.is_empty() => None,
        None => Some(bytes.len()),
    }
}

/// Returns the line as text. Replaces invalid UTF-8, and adds a missing line ending if `is_complete`.
pub(super) fn line_text(prefix: &str, line: &[u8], is_complete: bool) -> String {
    let text = String::from_utf8_lossy(line);
    let ending = if is_complete && !text.ends_with(['\n', '\r']) { "\n" } else { "" };
    format!("{prefix}{text}{ending}")
}

/// Returns the length of the longest prefix that ends at a character boundary.
fn character_boundary(bytes: &[u8]) -> usize {
    let is_first_byte = |byte: &u8| byte & 0b1100_0000 != 0b1000_0000;
    // A character has at most four bytes; without a first byte among the last four this is not UTF-8.
    match bytes.iter().rev().take(4).position(is_first_byte) {
        Some(back) => {
            let start = bytes.len() - back - 1;
            let width = match bytes.get(start) {
                Some(0xf0..=0xff) => 4,
                Some(0xe0..=0xef) => 3,
                Some(0xc0..=0xdf) => 2,
                _ => 1,
            };
            if width > back + 1 { start } else { bytes.len() }
        }
        None => bytes.len(),
    }
}

/// Returns a text of the connector as one system line.
pub(super) fn system_line(prefix: &str, text: &str) -> (String, Originator) {
    let text = text.chars().take(MAX_SYSTEM_LINE).map(|c| if c.is_control() { ' ' } else { c });
    let text: String = text.collect();
    (format!("{prefix}{}\n", text.trim_end()), Originator::System)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Splits a text that arrives in pieces of these sizes.
    fn split(text: &[u8], pieces: &[usize]) -> Vec<Vec<u8>> {
        let (mut lines, mut from, mut have) = (Vec::new(), 0, 0_usize);
        for piece in pieces.iter().copied().chain([usize::MAX]) {
            have = text.len().min(have.saturating_add(piece));
            let end = if piece == usize::MAX { BufferEnd::StreamEnd } else { BufferEnd::Open };
            while let Some(length) = first_line_length(&text[from..have], end) {
                lines.push(text[from..from + length].to_vec());
                from += length;
            }
        }
        lines
    }

    #[test]
    fn line_endings_are_kept_and_an_unfinished_line_is_held_back() {
        let lines = |text: &[u8], end| first_line_length(text, end);
        assert_eq!(lines(b"a\nb", BufferEnd::Open), Some(2));
        assert_eq!(lines(b"a\r\nb", BufferEnd::Open), Some(3));
        assert_eq!(lines(b"a\rb", BufferEnd::Open), Some(2));
        assert_eq!(lines(b"a\r", BufferEnd::Open), None);
        assert_eq!(lines(b"a\r", BufferEnd::StreamEnd), Some(2));
        assert_eq!(lines(b"a", BufferEnd::Open), None);
        assert_eq!(lines(b"a", BufferEnd::NextFile), Some(1));
        assert_eq!(lines(b"a", BufferEnd::StreamEnd), Some(1));
        assert_eq!(lines(b"", BufferEnd::StreamEnd), None);
        assert_eq!(line_text("k: ", b"a", true), "k: a\n");
        assert_eq!(line_text("", b"a", false), "a");
        assert_eq!(line_text("", b"a\r", true), "a\r");
        assert_eq!(line_text("", b"\xff\n", true), "\u{fffd}\n");
    }

    #[test]
    fn long_line_is_split_at_character_boundaries() {
        for width in ["x", "ü", "€", "😀"] {
            let text = format!("-{}", width.repeat(MAX_LINE));
            let lines = split(text.as_bytes(), &[]);
            assert!(lines.len() > 1);
            let texts: String =
                lines.iter().map(|line| String::from_utf8(line.clone()).unwrap()).collect();
            assert_eq!(texts, text);
        }
        assert!(split(&vec![0x80; 3 * MAX_LINE], &[]).len() >= 3);
    }

    proptest! {
        #[test]
        fn splitting_in_pieces_gives_the_same_lines(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            pieces in proptest::collection::vec(0usize..20, 0..20),
        ) {
            let whole = split(&text, &[]);
            prop_assert_eq!(&whole.concat(), &text);
            prop_assert_eq!(split(&text, &pieces), whole);
        }

        #[test]
        fn lines_of_utf8_text_are_utf8(text in "(\\PC|\n|\r){0,80}", pieces in proptest::collection::vec(0usize..9, 0..20)) {
            for line in split(text.as_bytes(), &pieces) {
                prop_assert!(std::str::from_utf8(&line).is_ok());
            }
        }
    }
}
