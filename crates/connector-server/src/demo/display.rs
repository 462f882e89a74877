//! Where the demo is seen: on a terminal, in a pipe, or by a program.

use std::io::{self, Write as _};

use console::Term;
use serde_json::{Value, json};

use super::{
    answer::{Answer, Said, Standing},
    live::Live,
    outcome::Outcome,
    scenes::Scene,
    summary::{Row, table},
    text::{self, Look},
    wrap::wrap,
};

/// How wide a line gets at most, and without a terminal.
const WIDEST: usize = 110;

/// Nobody can see the demo.
#[derive(Debug, thiserror::Error)]
#[error("standard output cannot be written to")]
pub(super) struct OutputError(#[from] io::Error);

/// What the demo shows, in one of three forms on stdout.
#[derive(Debug)]
pub(super) struct Display {
    form: Form,
    look: Look,
    /// How the run of the present scene stood last.
    standing: Option<Standing>,
}

#[derive(Debug)]
enum Form {
    /// Lines, and below them a live line for each scene.
    Terminal(Live),
    /// Lines.
    Plain,
    /// One JSON object a line: every answer, and the summary.
    Json,
}

impl Display {
    /// JSON if it is asked for, else what suits stdout.
    pub(super) fn new(json: bool, scenes: &[Scene]) -> Self {
        let terminal = Term::stdout();
        let look = if terminal.is_term() {
            let columns = usize::from(terminal.size().1);
            Look { width: columns.min(WIDEST), colours: console::colors_enabled() }
        } else {
            Look { width: WIDEST, colours: false }
        };
        let form = match (json, terminal.is_term()) {
            (true, _) => Form::Json,
            (false, true) => Form::Terminal(Live::new(scenes, look.width)),
            (false, false) => Form::Plain,
        };
        Self { form, look, standing: None }
    }

    /// A sentence for people.
    pub(super) fn sentence(&mut self, text: &str) -> Result<(), OutputError> {
        self.lines(&wrap(text, self.look.width))
    }

    /// A scene begins.
    pub(super) fn begin(
        &mut self,
        at: usize,
        scenes: usize,
        scene: &Scene,
    ) -> Result<(), OutputError> {
        self.standing = None;
        let heading = self.look.heading(&format!("{} of {scenes}: {}", at + 1, scene.title));
        self.lines(&[String::new(), heading])?;
        self.sentence(scene.told)?;
        if let Form::Terminal(live) = &mut self.form {
            live.begin(at);
        }
        Ok(())
    }

    /// An answer came.
    pub(super) fn answer(&mut self, answer: &Answer) -> Result<(), OutputError> {
        if matches!(self.form, Form::Json) {
            return json_line(&answer.to_json());
        }
        let lines = text::lines(answer, self.standing.as_ref(), self.look);
        self.lines(&lines)?;
        if let Said::Stands(standing) = &answer.said {
            if let Form::Terminal(live) = &mut self.form {
                live.stands(&text::in_one_line(standing, self.look));
            }
            self.standing = Some(standing.clone());
        }
        Ok(())
    }

    /// A scene is over.
    pub(super) fn over(&mut self, outcome: &Outcome, as_expected: bool) -> Result<(), OutputError> {
        if let Some(trouble) = &outcome.trouble {
            self.sentence(&format!("Broken off: {trouble}."))?;
        }
        if let Form::Terminal(live) = &self.form {
            let end =
                outcome.end().map_or_else(|| "no phase".to_owned(), |phase| self.look.phase(phase));
            live.over(&end, as_expected);
        }
        Ok(())
    }

    /// The end: what came of all scenes.
    pub(super) fn summary(&mut self, rows: &[Row]) -> Result<(), OutputError> {
        self.clear();
        if matches!(self.form, Form::Json) {
            let summary: Vec<Value> =
                rows.iter().map(|row| row.outcome.to_json(row.task, &row.deviations)).collect();
            let as_expected = rows.iter().all(|row| row.deviations.is_empty());
            return json_line(&json!({"summary": summary, "as_expected": as_expected}));
        }
        self.lines(&[String::new()])?;
        self.lines(&table(rows, self.look))
    }

    /// Takes the live lines away.
    pub(super) fn clear(&mut self) {
        if let Form::Terminal(live) = &self.form {
            live.clear();
        }
    }

    /// The demo ends in the middle.
    pub(super) fn interrupted(&mut self) -> Result<(), OutputError> {
        match &self.form {
            Form::Terminal(live) => Ok(live.leave()?),
            Form::Plain | Form::Json => Ok(()),
        }
    }

    fn lines(&self, lines: &[String]) -> Result<(), OutputError> {
        match &self.form {
            Form::Terminal(live) => lines.iter().try_for_each(|line| live.above(line))?,
            Form::Plain => {
                let mut out = io::stdout().lock();
                lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
            }
            Form::Json => {}
        }
        Ok(())
    }
}

fn json_line(value: &Value) -> Result<(), OutputError> {
    Ok(writeln!(io::stdout().lock(), "{value}")?)
}
