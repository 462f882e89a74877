//! Formats events and the summary as text. Writes nothing.

use connector_service::code_name;
use console::{Style, measure_text_width};
use flyteidl2::{connector::Resource, core::task_execution::Phase};

use super::{
    event::{Created, Event, Response, is_terminal},
    outcome::Outcome,
};
use crate::table;

/// Column at which the text of an event starts, after its time and its call.
const INDENT: usize = 22;

/// Width and colors of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    /// In columns.
    pub(super) width: usize,
    pub(super) colors: bool,
}

impl Format {
    pub(super) fn heading(self, text: &str) -> String {
        self.styled(&Style::new().bold(), text)
    }

    fn phase(self, phase: Phase) -> String {
        let style = match phase {
            Phase::Succeeded => Style::new().green(),
            Phase::Failed | Phase::RetryableFailed | Phase::Aborted | Phase::Undefined => {
                Style::new().red()
            }
            Phase::Running => Style::new().cyan(),
            Phase::Queued | Phase::Initializing | Phase::WaitingForResources => {
                Style::new().yellow()
            }
        };
        self.styled(&style.bold(), phase.as_str_name())
    }

    fn styled(self, style: &Style, text: &str) -> String {
        style.clone().force_styling(self.colors).apply_to(text).to_string()
    }
}

/// Returns the lines of an event: none if `GetTask` returned the same as in `previous`.
pub(super) fn event(event: &Event, previous: Option<&Resource>, format: Format) -> Vec<String> {
    let paragraphs = match &event.response {
        Response::Created(created) => created_lines(created),
        Response::Status(resource)
            if previous.is_some_and(|previous| is_same(previous, resource)) =>
        {
            return Vec::new();
        }
        Response::Status(resource) => status_lines(resource, previous, format),
        Response::Logs(lines) if lines.is_empty() => vec!["no lines".to_owned()],
        Response::Logs(lines) => lines.clone(),
        Response::Deleted if previous.is_some_and(|previous| is_terminal(previous.phase())) => {
            vec![
                "OK: the run has ended, nothing to cancel (Flyte also deletes finished tasks)"
                    .to_owned(),
            ]
        }
        Response::Deleted => {
            vec!["OK: Databricks accepted the request to cancel the run".to_owned()]
        }
        Response::Error { status, .. } => {
            vec![format!("error {}: {}", code_name(status.code()), status.message())]
        }
    };
    let width = format.width.saturating_sub(INDENT);
    let lines = paragraphs.iter().flat_map(|paragraph| wrap(paragraph, width));
    let time =
        format.styled(&Style::new().dim(), &format!("{:>6.2}s", event.elapsed.as_secs_f64()));
    let call = event.call();
    let lines = lines.enumerate().map(|(index, line)| {
        if index == 0 {
            return format!("{time}  {call:<11}  {line}");
        }
        // A long link is indented less, so that it fits on its line.
        let free = format.width.saturating_sub(measure_text_width(&line));
        format!("{}{line}", " ".repeat(INDENT.min(free)))
    });
    lines.collect()
}

fn created_lines(created: &Created) -> Vec<String> {
    let Created { workspace, run_id, task_type, compute, idempotency_token_prefix } = created;
    vec![
        format!("run {run_id} on {workspace}"),
        format!("submitted: {task_type} on {compute}"),
        format!(
            "idempotency token {idempotency_token_prefix}…: a repeated CreateTask returns the same run"
        ),
    ]
}

/// True if phase, message and links are equal. Other fields are not printed.
fn is_same(a: &Resource, b: &Resource) -> bool {
    a.phase == b.phase && a.message == b.message && a.log_links == b.log_links
}

/// Returns phase, message and the links that `previous` does not have.
fn status_lines(resource: &Resource, previous: Option<&Resource>, format: Format) -> Vec<String> {
    let mut message = resource.message.lines();
    let phase = format.phase(resource.phase());
    let mut lines = vec![match message.next() {
        Some(first) => format!("{phase}  {first}"),
        None => phase,
    }];
    lines.extend(message.map(str::to_owned));
    let known = previous.map(|previous| previous.log_links.as_slice()).unwrap_or_default();
    let new = resource.log_links.iter().filter(|link| !known.contains(link));
    lines.extend(new.map(|link| format!("{}: {}", link.name, link.uri)));
    lines
}

/// Returns the summary: a table with a row for each task, followed by the deviations.
pub(super) fn summary(outcomes: &[Outcome], format: Format) -> Vec<String> {
    let header = ["TASK", "RUN ID", "FINAL PHASE", "TIME", "AS EXPECTED"].map(str::to_owned);
    let none = || "none".to_owned();
    let rows = outcomes.iter().map(|outcome| {
        [
            outcome.task.to_owned(),
            outcome.run_id.clone().unwrap_or_else(none),
            outcome.phase().map_or_else(none, |phase| format.phase(phase)),
            format!("{:.1} s", outcome.duration.as_secs_f64()),
            if outcome.deviations().is_empty() { "yes" } else { "no" }.to_owned(),
        ]
    });
    let mut lines = table::format(&std::iter::once(header).chain(rows).collect::<Vec<_>>());
    for outcome in outcomes {
        let deviations = outcome.deviations().into_iter();
        lines.extend(deviations.map(|deviation| format!("{}: {deviation}", outcome.task)));
    }
    lines
}

/// Breaks lines at spaces to fit `width`, keeping their indentation. A longer word gets a line to itself.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    text.lines().flat_map(|line| wrap_line(line, width)).collect()
}

fn wrap_line(line: &str, width: usize) -> Vec<String> {
    if measure_text_width(line) <= width {
        return vec![line.to_owned()];
    }
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    let mut words = line.trim().split(' ');
    let mut current = format!("{indent}{}", words.next().unwrap_or_default());
    let mut lines = Vec::new();
    for word in words {
        if measure_text_width(&current) + 1 + measure_text_width(word) > width {
            lines.push(std::mem::replace(&mut current, format!("{indent}{word}")));
        } else {
            current.push(' ');
            current.push_str(word);
        }
    }
    lines.push(current);
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use flyteidl2::core::TaskLog;
    use prost_types::Struct;

    use super::{super::outcome::Expected, *};

    const FORMAT: Format = Format { width: 72, colors: false };

    fn render(response: Response, previous: Option<&Resource>, format: Format) -> Vec<String> {
        let elapsed = Duration::from_millis(1_240);
        event(&Event { task: "succeeds", elapsed, response }, previous, format)
    }

    fn status(phase: Phase, message: &str) -> Resource {
        let link = TaskLog {
            name: "Databricks Console".to_owned(),
            uri: "https://localhost:1/#job/2/run/3".to_owned(),
            ..TaskLog::default()
        };
        Resource {
            phase: phase.into(),
            message: message.to_owned(),
            log_links: vec![link],
            ..Resource::default()
        }
    }

    #[test]
    fn repeated_status_is_printed_once() {
        let running = status(Phase::Running, "in run");
        assert_eq!(
            render(Response::Status(running.clone()), None, FORMAT),
            [
                "  1.24s  GetTask      RUNNING  in run",
                "                      Databricks Console:",
                "                      https://localhost:1/#job/2/run/3",
            ]
        );
        let repeated = Resource { custom_info: Some(Struct::default()), ..running.clone() };
        let repeated = render(Response::Status(repeated), Some(&running), FORMAT);
        assert_eq!(repeated, Vec::<String>::new());
    }

    #[test]
    fn long_link_is_not_broken() {
        let response = Response::Status(status(Phase::Running, "in run"));
        let lines = render(response, None, Format { width: 40, ..FORMAT });
        assert_eq!(lines.last().unwrap(), "        https://localhost:1/#job/2/run/3");
    }

    #[test]
    fn known_link_is_not_repeated() {
        let response = Response::Status(status(Phase::Succeeded, ""));
        let lines = render(response, Some(&status(Phase::Running, "in run")), FORMAT);
        assert_eq!(lines, ["  1.24s  GetTask      SUCCEEDED"]);
    }

    #[test]
    fn stack_trace_keeps_its_lines() {
        let failed = status(Phase::RetryableFailed, "ValueError: x\nTraceback:\n  File y");
        assert_eq!(
            render(Response::Status(failed), Some(&status(Phase::Running, "")), FORMAT),
            [
                "  1.24s  GetTask      RETRYABLE_FAILED  ValueError: x",
                "                      Traceback:",
                "                        File y",
            ]
        );
    }

    #[test]
    fn delete_shows_whether_a_run_was_cancelled() {
        let ended = render(Response::Deleted, Some(&status(Phase::Succeeded, "")), FORMAT);
        assert!(ended.join(" ").contains("nothing to cancel"), "{ended:?}");
        let running = render(Response::Deleted, Some(&status(Phase::Running, "")), FORMAT);
        assert!(running.join(" ").contains("request to cancel"), "{running:?}");
    }

    #[test]
    fn error_shows_code_and_message() {
        let status = tonic::Status::unavailable("gone");
        assert_eq!(
            render(Response::Error { call: "DeleteTask", status }, None, FORMAT),
            ["  1.24s  DeleteTask   error UNAVAILABLE: gone"]
        );
    }

    #[test]
    fn colors_are_optional() {
        assert!(Format { colors: true, ..FORMAT }.phase(Phase::Failed).contains('\u{1b}'));
        assert_eq!(FORMAT.phase(Phase::Failed), "FAILED");
    }

    #[test]
    fn summary_has_a_row_per_task_and_lists_deviations() {
        let outcome = |task, failure: Option<&str>| {
            let expected = Expected { phase: Phase::Succeeded, message: "", log_line: None };
            Outcome {
                run_id: Some("514594995218126".to_owned()),
                phases: vec![Phase::WaitingForResources, Phase::Succeeded],
                has_run_page: true,
                duration: Duration::from_millis(1_650),
                failure: failure.map(str::to_owned),
                ..Outcome::new(task, expected)
            }
        };
        assert_eq!(
            summary(&[outcome("succeeds", None), outcome("fails", Some("it broke"))], FORMAT),
            [
                "TASK      RUN ID           FINAL PHASE  TIME   AS EXPECTED",
                "succeeds  514594995218126  SUCCEEDED    1.6 s  yes",
                "fails     514594995218126  SUCCEEDED    1.6 s  no",
                "fails: it broke",
            ]
        );
    }

    #[test]
    fn lines_are_broken_at_spaces_and_keep_indentation() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one two three", 13), ["one two three"]);
        assert_eq!(wrap("a https://localhost:1/run b", 5), ["a", "https://localhost:1/run", "b"]);
        assert_eq!(
            wrap("Traceback:\n  File one two\n\nend", 10),
            ["Traceback:", "  File one", "  two", "", "end"]
        );
    }
}
