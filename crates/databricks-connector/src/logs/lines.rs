//! Lines in bytes that come in pieces. Pure.

use connector_core::Originator;

/// The longest line that is told in one piece, in bytes. What is longer comes in several lines without an ending.
pub(super) const MAX_LINE: usize = 64 * 1024;

/// The longest line of our own, in characters.
const MAX_OURS: usize = 4_000;

/// What follows the last byte that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// More, now or later: a line without its ending waits.
    More,
    /// The next file of the same stream: what is left is told as it is, and goes on there.
    Joined,
    /// Nothing, ever: what is left is a line, and gets the ending that it lacks (FC §1.8).
    End,
}

/// The length of the first line with its ending, which is CRLF, CR or LF (FC §1.8). None when it is not whole yet. A
/// character of UTF-8 holds no byte of an ending, so a line is never cut inside one.
pub(super) fn first_line(bytes: &[u8], tail: Tail) -> Option<usize> {
    let seen = bytes.get(..MAX_LINE).unwrap_or(bytes);
    let ending = seen.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    match ending.map(|place| (place, bytes.get(place), bytes.get(place + 1))) {
        Some((place, Some(b'\r'), Some(b'\n'))) => Some(place + 2),
        // A line feed may follow.
        Some((_, Some(b'\r'), None)) if tail == Tail::More => None,
        Some((place, ..)) => Some(place + 1),
        None if bytes.len() > MAX_LINE => Some(whole_characters(seen)),
        None if tail == Tail::More || bytes.is_empty() => None,
        None => Some(bytes.len()),
    }
}

/// The line as text: what is no UTF-8 is replaced.
pub(super) fn text_of(prefix: &str, line: &[u8], ends_here: bool) -> String {
    let text = String::from_utf8_lossy(line);
    let ending = if ends_here && !text.ends_with(['\n', '\r']) { "\n" } else { "" };
    format!("{prefix}{text}{ending}")
}

/// The length of the longest start that ends with a whole character.
fn whole_characters(bytes: &[u8]) -> usize {
    let is_start = |byte: &u8| byte & 0b1100_0000 != 0b1000_0000;
    // A character has at most four bytes; what has no start among its last four is no UTF-8.
    match bytes.iter().rev().take(4).position(is_start) {
        Some(back) => {
            let place = bytes.len() - back - 1;
            let width = match bytes.get(place) {
                Some(0xf0..=0xff) => 4,
                Some(0xe0..=0xef) => 3,
                Some(0xc0..=0xdf) => 2,
                _ => 1,
            };
            if width > back + 1 { place } else { bytes.len() }
        }
        None => bytes.len(),
    }
}

/// A text that did not come from the log but from us: one line, from the system.
pub(super) fn ours(prefix: &str, text: &str) -> (String, Originator) {
    let text = text.chars().take(MAX_OURS).map(|c| if c.is_control() { ' ' } else { c });
    let text: String = text.collect();
    (format!("{prefix}{}\n", text.trim_end()), Originator::System)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All lines of a text that comes in pieces of these sizes.
    fn read(text: &[u8], pieces: &[usize]) -> Vec<Vec<u8>> {
        let (mut lines, mut from, mut have) = (Vec::new(), 0, 0_usize);
        for piece in pieces.iter().copied().chain([usize::MAX]) {
            have = text.len().min(have.saturating_add(piece));
            let tail = if piece == usize::MAX { Tail::End } else { Tail::More };
            while let Some(length) = first_line(&text[from..have], tail) {
                lines.push(text[from..from + length].to_vec());
                from += length;
            }
        }
        lines
    }

    #[test]
    fn every_ending_is_kept_and_a_line_without_one_waits() {
        let lines = |text: &[u8], tail| first_line(text, tail);
        assert_eq!(lines(b"a\nb", Tail::More), Some(2));
        assert_eq!(lines(b"a\r\nb", Tail::More), Some(3));
        assert_eq!(lines(b"a\rb", Tail::More), Some(2));
        assert_eq!(lines(b"a\r", Tail::More), None);
        assert_eq!(lines(b"a\r", Tail::End), Some(2));
        assert_eq!(lines(b"a", Tail::More), None);
        assert_eq!(lines(b"a", Tail::Joined), Some(1));
        assert_eq!(lines(b"a", Tail::End), Some(1));
        assert_eq!(lines(b"", Tail::End), None);
        assert_eq!(text_of("k: ", b"a", true), "k: a\n");
        assert_eq!(text_of("", b"a", false), "a");
        assert_eq!(text_of("", b"a\r", true), "a\r");
        assert_eq!(text_of("", b"\xff\n", true), "\u{fffd}\n");
    }

    #[test]
    fn a_line_that_is_too_long_comes_in_pieces_of_whole_characters() {
        for width in ["x", "ü", "€", "😀"] {
            let text = format!("-{}", width.repeat(MAX_LINE));
            let lines = read(text.as_bytes(), &[]);
            assert!(lines.len() > 1);
            let texts: String =
                lines.iter().map(|line| String::from_utf8(line.clone()).unwrap()).collect();
            assert_eq!(texts, text);
        }
        assert!(read(&vec![0x80; 3 * MAX_LINE], &[]).len() >= 3);
    }

    proptest! {
        #[test]
        fn pieces_make_the_same_lines_as_the_whole(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            pieces in proptest::collection::vec(0usize..20, 0..20),
        ) {
            let whole = read(&text, &[]);
            prop_assert_eq!(&whole.concat(), &text);
            prop_assert_eq!(read(&text, &pieces), whole);
        }

        #[test]
        fn a_line_of_utf8_is_utf8(text in "(\\PC|\n|\r){0,80}", pieces in proptest::collection::vec(0usize..9, 0..20)) {
            for line in read(text.as_bytes(), &pieces) {
                prop_assert!(std::str::from_utf8(&line).is_ok());
            }
        }
    }
}
