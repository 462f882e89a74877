//! A page as it fills: so many lines, and no more bytes than one message of gRPC takes. Pure.

use std::time::SystemTime;

use connector_core::{LogLine, Originator};

use super::lines::{self, Tail};

/// Lines on a page when the caller does not say.
const DEFAULT_LINES: usize = 1_000;

/// Lines on a page at most, whatever the caller says.
const MAX_LINES: usize = 10_000;

/// Text on a page at most, in bytes: with what surrounds 10,000 lines it fits into one message of 4 MiB (FC §1.2).
pub(super) const MAX_BYTES: usize = 3 * 1024 * 1024;

/// A page that is being filled.
#[derive(Debug)]
pub(super) struct Page {
    lines: Vec<LogLine>,
    most: usize,
    bytes: usize,
}

impl Page {
    /// An empty page for that many lines; 0 is for the connector to choose.
    pub(super) fn new(wanted: u64) -> Self {
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let most = if wanted == 0 { DEFAULT_LINES } else { wanted.min(MAX_LINES) };
        Self { lines: Vec::new(), most, bytes: 0 }
    }

    /// How many more lines it takes.
    pub(super) fn room(&self) -> usize {
        if self.bytes >= MAX_BYTES { 0 } else { self.most.saturating_sub(self.lines.len()) }
    }

    pub(super) fn is_full(&self) -> bool {
        self.room() == 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether the last line has no ending, so that its other part should come next.
    pub(super) fn is_mid_line(&self) -> bool {
        self.lines.last().is_some_and(|line| !line.message.ends_with(['\n', '\r']))
    }

    /// One line of ours. It is taken even by a full page: what belongs together is told together.
    pub(super) fn tell(&mut self, prefix: &str, text: &str, at: Option<SystemTime>) {
        let (message, originator) = lines::ours(prefix, text);
        self.push(message, originator, at);
    }

    /// Takes lines as long as there is room, and returns how many bytes they are.
    pub(super) fn take(&mut self, prefix: &str, bytes: &[u8], tail: Tail) -> usize {
        let mut taken = 0;
        while !self.is_full()
            && let Some(rest) = bytes.get(taken..)
            && let Some(length) = lines::first_line(rest, tail)
            && let Some(line) = rest.get(..length)
        {
            taken += length;
            let ends_here = tail == Tail::End && taken == bytes.len();
            self.push(lines::text_of(prefix, line, ends_here), Originator::User, None);
        }
        taken
    }

    fn push(&mut self, message: String, originator: Originator, timestamp: Option<SystemTime>) {
        self.bytes += message.len();
        self.lines.push(LogLine { timestamp, message, originator });
    }

    pub(super) fn into_lines(self) -> Vec<LogLine> {
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_takes_so_many_lines_and_no_more() {
        let mut page = Page::new(2);
        assert_eq!(page.take("k: ", b"a\nbb\nccc\n", Tail::End), 5);
        assert!(page.is_full());
        let texts: Vec<String> = page.into_lines().into_iter().map(|line| line.message).collect();
        assert_eq!(texts, ["k: a\n", "k: bb\n"]);
        assert_eq!(Page::new(0).room(), DEFAULT_LINES);
        assert_eq!(Page::new(u64::MAX).room(), MAX_LINES);
    }

    #[test]
    fn a_page_is_full_when_a_message_is() {
        let mut page = Page::new(10_000);
        let line = [b"x".repeat(lines::MAX_LINE - 1), b"\n".to_vec()].concat();
        let text = line.repeat(100);
        let taken = page.take("", &text, Tail::More);
        assert!(page.is_full() && taken < text.len());
        let told: usize = page.into_lines().iter().map(|line| line.message.len()).sum();
        assert!(told <= MAX_BYTES + lines::MAX_LINE, "{told}");
    }

    #[test]
    fn our_own_lines_are_one_line_each() {
        let mut page = Page::new(1);
        page.tell("k: ", "a\nb\n", None);
        let lines = page.into_lines();
        assert_eq!(
            (lines[0].message.as_str(), lines[0].originator),
            ("k: a b\n", Originator::System)
        );
    }
}
