//! Answers in words, for people.

use console::{Style, measure_text_width};
use flyteidl2::core::task_execution::Phase;

use super::{
    answer::{Answer, Created, Said, Standing, is_terminal},
    wrap::wrap,
};
use connector_service::code_name;

/// Where the words of an answer begin, after its time and its call.
const INDENT: usize = 22;

/// How lines are laid out and coloured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Columns.
    pub(super) width: usize,
    pub(super) colours: bool,
}

impl Look {
    /// A phase, in the colour of its meaning.
    pub(super) fn phase(self, phase: Phase) -> String {
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

    /// What a heading says.
    pub(super) fn heading(self, text: &str) -> String {
        self.styled(&Style::new().bold(), text)
    }

    /// What matters less.
    pub(super) fn aside(self, text: &str) -> String {
        self.styled(&Style::new().dim(), text)
    }

    fn styled(self, style: &Style, text: &str) -> String {
        style.clone().force_styling(self.colours).apply_to(text).to_string()
    }
}

/// The lines of an answer; none when `GetTask` said the same before.
pub(super) fn lines(answer: &Answer, before: Option<&Standing>, look: Look) -> Vec<String> {
    let words = match &answer.said {
        Said::Created(created) => of_created(created),
        Said::Stands(standing) if before == Some(standing) => return Vec::new(),
        Said::Stands(standing) => of_standing(standing, before, look),
        Said::Logged(lines) if lines.is_empty() => vec!["no lines".to_owned()],
        Said::Logged(lines) => lines.clone(),
        Said::Deleted if before.is_some_and(|standing| is_terminal(standing.phase)) => {
            vec!["OK: the run is over, nothing is cancelled (Flyte sends it for finished tasks, too)".to_owned()]
        }
        Said::Deleted => vec!["OK: Databricks was asked to cancel the run".to_owned()],
        Said::Refused { code, message, .. } => {
            vec![format!("refused with {}: {message}", code_name(*code))]
        }
    };
    let wrapped = words.iter().flat_map(|words| wrap(words, look.width.saturating_sub(INDENT)));
    let time = look.aside(&format!("{:>6.2}s", answer.at.as_secs_f64()));
    let call = answer.call().name();
    let lines = wrapped.enumerate().map(|(at, words)| match at {
        0 => format!("{time}  {call:<11}  {words}"),
        _ => format!("{}{words}", " ".repeat(margin(&words, look.width))),
    });
    lines.collect()
}

/// Blanks before a line. A long link goes to the left, so that it stays whole.
fn margin(words: &str, width: usize) -> usize {
    INDENT.min(width.saturating_sub(measure_text_width(words)))
}

fn of_created(created: &Created) -> Vec<String> {
    let Created { workspace, run_id, submitted } = created;
    vec![
        format!("run {run_id} on {workspace}"),
        format!("submitted: {} on {}", submitted.task_type, submitted.compute),
        format!(
            "idempotency token {}…: the same CreateTask, sent again, is the same run",
            submitted.idempotency_token_prefix
        ),
    ]
}

fn of_standing(standing: &Standing, before: Option<&Standing>, look: Look) -> Vec<String> {
    let mut words = vec![in_one_line(standing, look)];
    words.extend(standing.message.lines().skip(1).map(str::to_owned));
    let told = before.map(|before| before.links.as_slice()).unwrap_or_default();
    let fresh = standing.links.iter().filter(|link| !told.contains(link));
    words.extend(fresh.map(|link| format!("{}: {}", link.name, link.uri)));
    words
}

/// The phase and the first line of the message.
pub(super) fn in_one_line(standing: &Standing, look: Look) -> String {
    let phase = look.phase(standing.phase);
    match standing.message.lines().next() {
        Some(message) => format!("{phase}  {message}"),
        None => phase,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::answer::{Call, Link},
        *,
    };

    const LOOK: Look = Look { width: 72, colours: false };

    fn answer(said: Said) -> Answer {
        Answer { task: "succeeds", at: Duration::from_millis(1_240), said }
    }

    fn standing(phase: Phase, message: &str) -> Standing {
        let link = Link {
            name: "Databricks Console".to_owned(),
            uri: "https://localhost:1/#job/2/run/3".to_owned(),
        };
        Standing { phase, message: message.to_owned(), links: vec![link] }
    }

    #[test]
    fn the_same_standing_is_told_once() {
        let running = standing(Phase::Running, "in run");
        let answer = answer(Said::Stands(running.clone()));
        assert_eq!(
            lines(&answer, None, LOOK),
            [
                "  1.24s  GetTask      RUNNING  in run",
                "                      Databricks Console:",
                "                      https://localhost:1/#job/2/run/3",
            ]
        );
        assert_eq!(lines(&answer, Some(&running), LOOK), Vec::<String>::new());
    }

    #[test]
    fn a_long_link_stays_whole() {
        let answer = answer(Said::Stands(standing(Phase::Running, "in run")));
        let told = lines(&answer, None, Look { width: 40, ..LOOK });
        assert_eq!(told.last().unwrap(), "        https://localhost:1/#job/2/run/3");
    }

    #[test]
    fn a_link_is_told_once() {
        let answer = answer(Said::Stands(standing(Phase::Succeeded, "")));
        let told = lines(&answer, Some(&standing(Phase::Running, "in run")), LOOK);
        assert_eq!(told, ["  1.24s  GetTask      SUCCEEDED"]);
    }

    #[test]
    fn a_stack_keeps_its_lines() {
        let answer = answer(Said::Stands(standing(
            Phase::RetryableFailed,
            "ValueError: x\nTraceback:\n  File y",
        )));
        let told = lines(&answer, Some(&standing(Phase::Running, "")), LOOK);
        assert_eq!(
            told,
            [
                "  1.24s  GetTask      RETRYABLE_FAILED  ValueError: x",
                "                      Traceback:",
                "                        File y",
            ]
        );
    }

    #[test]
    fn a_delete_says_whether_it_cancelled() {
        let ended = standing(Phase::Succeeded, "");
        let told = lines(&answer(Said::Deleted), Some(&ended), LOOK).join(" ");
        assert!(told.contains("nothing is cancelled"), "{told}");
        let running = standing(Phase::Running, "");
        let told = lines(&answer(Said::Deleted), Some(&running), LOOK).join(" ");
        assert!(told.contains("asked to cancel"), "{told}");
    }

    #[test]
    fn a_refusal_tells_code_and_message() {
        let said = Said::Refused {
            call: Call::DeleteTask,
            code: tonic::Code::Unavailable,
            message: "gone".to_owned(),
        };
        assert_eq!(
            lines(&answer(said), None, LOOK),
            ["  1.24s  DeleteTask   refused with UNAVAILABLE: gone"]
        );
    }

    #[test]
    fn colours_are_there_only_when_they_are_wanted() {
        assert!(Look { colours: true, ..LOOK }.phase(Phase::Failed).contains('\u{1b}'));
        assert_eq!(LOOK.phase(Phase::Failed), "FAILED");
    }
}
