//! The log of a run from the outputs of its tasks.

use connector_core::{CallContext, Error, LogLine, LogPage, LogsRequest, Originator};
use databricks_client::{Client, jobs::RunOutput};

use crate::{
    DatabricksConnector,
    connector::{host_of, no_credentials},
    error,
    run_meta::RunMeta,
};

/// Lines on a page when the caller does not say.
const DEFAULT_LINES: usize = 1_000;

/// Marks a token as ours, and the way of counting.
const TOKEN_PREFIX: &str = "v1:";

/// One page of the outputs of the run's tasks: what they wrote, then their errors. While a run is running, Databricks
/// may have nothing yet, and the page is empty.
///
/// # Errors
///
/// `InvalidRequest` for a token that is not from here; whatever keeps the run from being read.
pub(crate) async fn page(
    connector: &DatabricksConnector,
    cx: &CallContext,
    meta: &RunMeta,
    request: &LogsRequest,
) -> Result<LogPage, Error> {
    let start = start_of(&request.token)?;
    let client = client_of_run(connector, cx, meta)?;
    let run = client
        .get_run(meta.run_id)
        .await
        .map_err(|error| error::from_client("reading the run", error))?;
    let tasks = run.latest_attempts();
    let mut lines = Vec::new();
    for task in &tasks {
        let Some(task_run_id) = task.run_id else { continue };
        match client.get_run_output(task_run_id).await {
            Ok(output) => {
                let prefix =
                    if tasks.len() > 1 { format!("{}: ", task.task_key) } else { String::new() };
                lines.extend(lines_of(&output, &prefix));
            }
            // A task that has not started, or of a kind without outputs, is no reason to withhold the others'.
            Err(error) if error.kind() == databricks_client::ErrorKind::Invalid => {}
            Err(error) => return Err(error::from_client("reading the run's output", error)),
        }
    }
    Ok(cut(lines, start, usize::try_from(request.lines).unwrap_or(usize::MAX)))
}

/// The client for a call that carries no connection: the connector's own credential, else the one last seen for the
/// run (DESIGN §3.1).
pub(crate) fn client_of_run(
    connector: &DatabricksConnector,
    cx: &CallContext,
    meta: &RunMeta,
) -> Result<Client, Error> {
    let host = host_of(meta)?;
    connector.permit(&host)?;
    let credentials = connector
        .credentials_of(&host, &cx.connection, meta)
        .or_else(|| connector.watch.credentials(&host, meta.run_id))
        .ok_or_else(|| no_credentials(&host))?;
    Ok(connector.client(&host, credentials, cx.deadline))
}

fn lines_of(output: &RunOutput, prefix: &str) -> Vec<LogLine> {
    let line = |text: &str, originator| LogLine {
        timestamp: None,
        message: format!("{prefix}{text}"),
        originator,
    };
    let mut lines = Vec::new();
    if output.logs_truncated == Some(true) {
        lines.push(line(
            "(Databricks keeps the last 5 MB of the output; what came before is lost)\n",
            Originator::System,
        ));
    }
    for text in [&output.logs, &output.error, &output.error_trace] {
        let text = text.as_deref().unwrap_or_default();
        lines.extend(text.split_inclusive('\n').map(|text| line(text, Originator::User)));
        if !text.is_empty() && !text.ends_with('\n') {
            // The caller counts on line endings (FC §1.8).
            if let Some(last) = lines.last_mut() {
                last.message.push('\n');
            }
        }
    }
    lines
}

fn start_of(token: &str) -> Result<usize, Error> {
    if token.is_empty() {
        return Ok(0);
    }
    token.strip_prefix(TOKEN_PREFIX).and_then(|count| count.parse().ok()).ok_or_else(|| {
        Error::invalid_request("the log token is not one of this connector's")
            .with_hint("start again without a token, or use the token of the page before")
    })
}

fn cut(lines: Vec<LogLine>, start: usize, wanted: usize) -> LogPage {
    let wanted = if wanted == 0 { DEFAULT_LINES } else { wanted };
    let all = lines.len();
    let lines: Vec<LogLine> = lines.into_iter().skip(start).take(wanted).collect();
    let end = start.saturating_add(lines.len());
    let next_token = (end < all && !lines.is_empty()).then(|| format!("{TOKEN_PREFIX}{end}"));
    LogPage { lines, next_token }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn output(value: serde_json::Value) -> RunOutput {
        serde_json::from_value(value).unwrap()
    }

    fn texts(lines: &[LogLine]) -> Vec<&str> {
        lines.iter().map(|line| line.message.as_str()).collect()
    }

    #[test]
    fn every_line_has_its_ending_and_errors_come_last() {
        let output = output(json!({"logs": "a\r\nb", "error": "E", "error_trace": "t1\nt2\n"}));
        assert_eq!(texts(&lines_of(&output, "")), ["a\r\n", "b\n", "E\n", "t1\n", "t2\n"]);
        assert_eq!(texts(&lines_of(&output, "k: ")).first(), Some(&"k: a\r\n"));
    }

    #[test]
    fn a_truncated_log_says_so() {
        let lines = lines_of(&output(json!({"logs": "x\n", "logs_truncated": true})), "");
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].originator, Originator::System);
    }

    #[test]
    fn pages_follow_each_other_without_loss_or_repetition() {
        let all: Vec<LogLine> = (0..7)
            .map(|n| LogLine {
                timestamp: None,
                message: format!("{n}\n"),
                originator: Originator::User,
            })
            .collect();
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let page = cut(all.clone(), start_of(&token).unwrap(), 3);
            seen.extend(page.lines);
            match page.next_token {
                Some(next) => token = next,
                None => break,
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_foreign_token_is_refused() {
        for token in ["x", "v1:", "v1:-1", "v2:3", "3"] {
            assert_eq!(
                start_of(token).unwrap_err().kind(),
                connector_core::ErrorKind::InvalidRequest,
                "{token}"
            );
        }
    }
}
