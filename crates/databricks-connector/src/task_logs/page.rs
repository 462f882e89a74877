//! A log page under construction, bounded by lines and by the size of a gRPC message. Pure.

use std::time::SystemTime;

use connector_core::{LogLine, Originator};

use super::line_splitter::{self, BufferEnd};

/// Lines on a page if the caller does not specify a number.
const DEFAULT_LINES: usize = 1_000;

/// The maximum number of lines on a page.
const MAX_LINES: usize = 10_000;

/// The maximum size of the text on a page, in bytes. With the overhead of 10,000 lines it fits
/// into a message of 4 MiB (flyte-contract.md#connection).
const MAX_BYTES: usize = 3 * 1024 * 1024;

/// A page under construction.
#[derive(Debug)]
pub(super) struct Page {
    lines: Vec<LogLine>,
    max_lines: usize,
    bytes: usize,
}

impl Page {
    /// Creates an empty page for this many lines; 0 selects the default.
    pub(super) fn new(requested: u64) -> Self {
        let requested = usize::try_from(requested).unwrap_or(usize::MAX);
        let max_lines = if requested == 0 { DEFAULT_LINES } else { requested.min(MAX_LINES) };
        Self { lines: Vec::new(), max_lines, bytes: 0 }
    }

    /// Returns how many more lines fit.
    pub(super) fn remaining_lines(&self) -> usize {
        if self.bytes >= MAX_BYTES { 0 } else { self.max_lines.saturating_sub(self.lines.len()) }
    }

    pub(super) fn is_full(&self) -> bool {
        self.remaining_lines() == 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// True if the last line has no ending, so that its continuation should come next.
    pub(super) fn is_mid_line(&self) -> bool {
        self.lines.last().is_some_and(|line| !line.message.ends_with(['\n', '\r']))
    }

    /// Adds one system line. A full page takes it too, so that related lines stay together.
    pub(super) fn push_system(&mut self, prefix: &str, text: &str, at: Option<SystemTime>) {
        let (message, originator) = line_splitter::system_line(prefix, text);
        self.push(message, originator, at);
    }

    /// Adds lines of output until the page is full. Returns how many bytes were consumed.
    pub(super) fn push_output(&mut self, prefix: &str, bytes: &[u8], end: BufferEnd) -> usize {
        let mut taken = 0;
        while !self.is_full()
            && let Some(rest) = bytes.get(taken..)
            && let Some(length) = line_splitter::first_line_length(rest, end)
            && let Some(line) = rest.get(..length)
        {
            taken += length;
            let is_complete = end == BufferEnd::StreamEnd && taken == bytes.len();
            self.push(line_splitter::line_text(prefix, line, is_complete), Originator::User, None);
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
    fn page_holds_the_requested_number_of_lines() {
        let mut page = Page::new(2);
        assert_eq!(page.push_output("k: ", b"a\nbb\nccc\n", BufferEnd::StreamEnd), 5);
        assert!(page.is_full());
        let texts: Vec<String> = page.into_lines().into_iter().map(|line| line.message).collect();
        assert_eq!(texts, ["k: a\n", "k: bb\n"]);
        assert_eq!(Page::new(0).remaining_lines(), DEFAULT_LINES);
        assert_eq!(Page::new(u64::MAX).remaining_lines(), MAX_LINES);
    }

    #[test]
    fn page_is_full_when_a_grpc_message_would_be() {
        let mut page = Page::new(10_000);
        let line = [b"x".repeat(line_splitter::MAX_LINE - 1), b"\n".to_vec()].concat();
        let text = line.repeat(100);
        let taken = page.push_output("", &text, BufferEnd::Open);
        assert!(page.is_full() && taken < text.len());
        let bytes: usize = page.into_lines().iter().map(|line| line.message.len()).sum();
        assert!(bytes <= MAX_BYTES + line_splitter::MAX_LINE, "{bytes}");
    }

    #[test]
    fn system_text_is_one_line() {
        let mut page = Page::new(1);
        page.push_system("k: ", "a\nb\n", None);
        let lines = page.into_lines();
        assert_eq!(
            (lines[0].message.as_str(), lines[0].originator),
            ("k: a b\n", Originator::System)
        );
    }
}
