//! Converts a log page into the messages of a stream: bodies first, then a header with the token of the next page, if any
//! (flyte-contract.md#logs-and-metrics).

use std::{
    pin::Pin,
    task::{Context, Poll},
    vec,
};

use connector_core::{LogLine, LogPage, Originator};
use flyteidl2::{
    connector::{
        GetTaskLogsResponse, GetTaskLogsResponseBody, GetTaskLogsResponseHeader,
        get_task_logs_response::Part,
    },
    logs::dataplane,
};
use futures_util::Stream;
use prost::Message as _;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::Status;

/// Largest message that a Go client accepts (flyte-contract.md#connection), less the overhead around the lines.
const MAX_BYTES: usize = 4 * 1024 * 1024 - 1024;

/// Largest text of one line: leaves space for the other fields.
const MAX_TEXT: usize = MAX_BYTES - 1024;

/// The messages of one page. Shutdown waits until the stream is dropped.
#[derive(Debug)]
pub(crate) struct LogStream {
    messages: vec::IntoIter<GetTaskLogsResponse>,
    _in_flight: TaskTrackerToken,
}

impl LogStream {
    pub(super) fn new(messages: Vec<GetTaskLogsResponse>, in_flight: TaskTrackerToken) -> Self {
        Self { messages: messages.into_iter(), _in_flight: in_flight }
    }
}

impl Stream for LogStream {
    type Item = Result<GetTaskLogsResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.messages.next().map(Ok))
    }
}

/// Returns the page as messages of at most 4 MiB each. There is at least one body, possibly empty.
pub(super) fn messages(page: LogPage) -> Vec<GetTaskLogsResponse> {
    let mut messages = Vec::new();
    let mut lines = Vec::new();
    let mut bytes = 0;
    for line in page.lines.into_iter().flat_map(wire_lines) {
        // A tag, a length of at most four bytes, and the line.
        let size = line.encoded_len() + 5;
        if bytes + size > MAX_BYTES {
            messages.push(body(std::mem::take(&mut lines)));
            bytes = 0;
        }
        bytes += size;
        lines.push(line);
    }
    if !lines.is_empty() || messages.is_empty() {
        messages.push(body(lines));
    }
    if let Some(token) = page.next_token {
        messages.push(GetTaskLogsResponse {
            part: Some(Part::Header(GetTaskLogsResponseHeader { token })),
        });
    }
    messages
}

fn body(lines: Vec<dataplane::LogLine>) -> GetTaskLogsResponse {
    let body = GetTaskLogsResponseBody { lines, ..GetTaskLogsResponseBody::default() };
    GetTaskLogsResponse { part: Some(Part::Body(body)) }
}

/// Splits a line that exceeds the size of a message.
fn wire_lines(line: LogLine) -> Vec<dataplane::LogLine> {
    let originator = match line.originator {
        Originator::Unknown => dataplane::LogLineOriginator::Unknown,
        Originator::User => dataplane::LogLineOriginator::User,
        Originator::System => dataplane::LogLineOriginator::System,
    };
    let timestamp = line.timestamp.map(Into::into);
    let wire = |message| dataplane::LogLine {
        timestamp,
        message,
        originator: originator.into(),
        short_pod_name: String::new(),
    };
    let mut lines = Vec::new();
    let mut rest = line.message;
    while rest.len() > MAX_TEXT {
        let at = (MAX_TEXT - 3..=MAX_TEXT)
            .rev()
            .find(|at| rest.is_char_boundary(*at))
            .unwrap_or(MAX_TEXT);
        let tail = rest.split_off(at);
        lines.push(wire(std::mem::replace(&mut rest, tail)));
    }
    lines.push(wire(rest));
    lines
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn line(message: &str) -> LogLine {
        LogLine { timestamp: None, message: message.to_owned(), originator: Originator::User }
    }

    fn text(messages: &[GetTaskLogsResponse]) -> String {
        messages
            .iter()
            .filter_map(|message| match &message.part {
                Some(Part::Body(body)) => {
                    Some(body.lines.iter().map(|line| line.message.as_str()).collect::<String>())
                }
                _ => None,
            })
            .collect()
    }

    #[test]
    fn empty_page_is_one_empty_body() {
        assert_eq!(messages(LogPage::default()), [body(Vec::new())]);
    }

    #[test]
    fn token_is_last_and_absent_on_the_last_page() {
        let page = LogPage { lines: vec![line("a\n")], next_token: Some("t".to_owned()) };
        let sent = messages(page.clone());
        assert_eq!(sent.len(), 2);
        assert!(matches!(&sent[0].part, Some(Part::Body(_))));
        assert!(matches!(&sent[1].part, Some(Part::Header(header)) if header.token == "t"));
        assert_eq!(messages(LogPage { next_token: None, ..page }).len(), 1);
    }

    #[test]
    fn line_keeps_its_timestamp_and_originator() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1500);
        let sent = wire_lines(LogLine {
            timestamp: Some(at),
            message: "x\n".to_owned(),
            originator: Originator::System,
        });
        assert_eq!(
            sent[0].timestamp,
            Some(prost_types::Timestamp { seconds: 1, nanos: 500_000_000 })
        );
        assert_eq!(sent[0].originator(), dataplane::LogLineOriginator::System);
    }

    #[test]
    fn messages_stay_below_4_mib_and_contain_every_byte() {
        let mut lines: Vec<LogLine> = (0..200_000)
            .map(|n| line(&format!("line {n} of a long log, with some text\n")))
            .collect();
        lines.push(line(&"ü".repeat(5_000_000)));
        lines.push(line("end\n"));
        let whole: String = lines.iter().map(|line| line.message.as_str()).collect();
        let sent = messages(LogPage { lines, next_token: None });
        for message in &sent {
            assert!(message.encoded_len() <= 4 * 1024 * 1024, "{} bytes", message.encoded_len());
        }
        assert!(sent.len() >= 4);
        assert!(text(&sent) == whole);
    }
}
