//! The table at the end: a column for each task.

use console::{Alignment, measure_text_width, pad_str};

use super::{
    outcome::{Outcome, names},
    text::Look,
    wrap::wrap,
};

/// Columns of the labels.
const LABEL: usize = 11;

/// Blanks between columns.
const GAP: usize = 2;

/// The longest phase, `WAITING_FOR_RESOURCES`, fits.
const NARROWEST: usize = 21;

const WIDEST: usize = 34;

/// The most lines of a reason.
const REASON_LINES: usize = 5;

/// A task of the table.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) task: &'static str,
    pub(super) outcome: Outcome,
    pub(super) deviations: Vec<String>,
}

/// The lines of the table.
pub(super) fn table(rows: &[Row], look: Look) -> Vec<String> {
    let room = look.width.saturating_sub(LABEL) / rows.len().max(1);
    let width = room.saturating_sub(GAP).clamp(NARROWEST, WIDEST);
    let every = |cell: &dyn Fn(&Outcome) -> Vec<String>| {
        rows.iter().map(|row| cell(&row.outcome)).collect::<Vec<_>>()
    };
    let numbered = rows
        .iter()
        .zip(1..)
        .map(|(row, number)| vec![look.heading(&format!("{number} {}", row.task))]);
    let end = |outcome: &Outcome| {
        vec![outcome.end().map_or_else(|| "none".to_owned(), |phase| look.phase(phase))]
    };
    let verdicts = rows.iter().map(|row| match row.deviations.as_slice() {
        [] => vec!["yes".to_owned()],
        // The reason says it already.
        _ if row.outcome.trouble.is_some() => vec!["no".to_owned()],
        deviations => wrap(&format!("no: {}", deviations.join("; ")), width),
    });

    let mut lines = band("", &numbered.collect::<Vec<_>>(), width);
    lines.push(look.aside(&"─".repeat(LABEL + rows.len() * (GAP + width))));
    let bands = [
        (
            "run id",
            every(&|outcome| vec![outcome.run_id.clone().unwrap_or_else(|| "none".to_owned())]),
        ),
        (
            "phases seen",
            every(&|outcome| names(&outcome.phases).into_iter().map(str::to_owned).collect()),
        ),
        ("end", every(&end)),
        ("reason", every(&|outcome| shortened(wrap(outcome.reason(), width)))),
        ("time", every(&|outcome| vec![format!("{:.1} s", outcome.took.as_secs_f64())])),
        ("as expected", verdicts.collect()),
    ];
    lines.extend(bands.iter().flat_map(|(label, cells)| band(label, cells, width)));
    lines
}

/// One label and its cells, each of any number of lines.
fn band(label: &str, cells: &[Vec<String>], width: usize) -> Vec<String> {
    let height = cells.iter().map(Vec::len).max().unwrap_or_default().max(1);
    let line = |at: usize| {
        let mut line =
            pad_str(if at == 0 { label } else { "" }, LABEL, Alignment::Left, None).into_owned();
        for cell in cells {
            let text = cell.get(at).map(String::as_str).unwrap_or_default();
            let padding = width.saturating_sub(measure_text_width(text));
            line.push_str(&" ".repeat(GAP));
            line.push_str(text);
            line.push_str(&" ".repeat(padding));
        }
        line.trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

fn shortened(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > REASON_LINES {
        lines.truncate(REASON_LINES);
        if let Some(last) = lines.last_mut() {
            last.push('…');
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use flyteidl2::core::task_execution::Phase;

    use super::*;

    fn row(task: &'static str, phases: &[Phase], message: &str, deviations: &[&str]) -> Row {
        let outcome = Outcome {
            run_id: Some("514594995218126".to_owned()),
            phases: phases.to_vec(),
            message: message.to_owned(),
            took: Duration::from_millis(1_650),
            ..Outcome::default()
        };
        Row { task, outcome, deviations: deviations.iter().map(|&text| text.to_owned()).collect() }
    }

    #[test]
    fn every_task_has_a_column() {
        let rows = [
            row("succeeds", &[Phase::WaitingForResources, Phase::Succeeded], "", &[]),
            row("fails", &[Phase::Failed], "ValueError: a long reason here", &["it ended"]),
        ];
        let expected = "             \
            1 succeeds             2 fails\n\
            ─────────────────────────────────────────────────────────\n\
            run id       514594995218126        514594995218126\n\
            phases seen  WAITING_FOR_RESOURCES  FAILED\n             \
            SUCCEEDED\n\
            end          SUCCEEDED              FAILED\n\
            reason                              ValueError: a long\n                                    \
            reason here\n\
            time         1.6 s                  1.6 s\n\
            as expected  yes                    no: it ended";
        assert_eq!(table(&rows, Look { width: 57, colours: false }).join("\n"), expected);
    }

    #[test]
    fn three_tasks_fit_into_eighty_columns() {
        let phases = [
            Phase::WaitingForResources,
            Phase::Initializing,
            Phase::Running,
            Phase::RetryableFailed,
        ];
        let rows =
            [row("a", &phases, "", &[]), row("b", &phases, "", &[]), row("c", &phases, "", &[])];
        let lines = table(&rows, Look { width: 80, colours: false });
        assert!(lines.iter().all(|line| measure_text_width(line) <= 80), "{lines:#?}");
    }

    #[test]
    fn a_long_reason_is_cut() {
        let rows = [row("fails", &[Phase::Failed], &"word ".repeat(200), &[])];
        let lines = table(&rows, Look { width: 80, colours: false });
        assert_eq!(lines.iter().filter(|line| line.contains("word")).count(), REASON_LINES);
    }
}
