//! Writes the demo to standard output: text, or one JSON object per line.

use std::io;

use console::Term;
use flyteidl2::connector::Resource;
use serde_json::{Value, json};

use super::{
    event::{Event, Response},
    outcome::Outcome,
    render::{self, Format, wrap},
};

/// Maximum line width, and the width if standard output is not a terminal.
const MAX_WIDTH: usize = 110;

/// Standard output, as text or JSON.
#[derive(Debug)]
pub(super) struct Output {
    json: bool,
    format: Format,
    /// The last `GetTask` response of the current scenario.
    previous: Option<Resource>,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        let terminal = Term::stdout();
        let format = if terminal.is_term() {
            let columns = usize::from(terminal.size().1);
            Format { width: columns.min(MAX_WIDTH), colors: console::colors_enabled() }
        } else {
            Format { width: MAX_WIDTH, colors: false }
        };
        Self { json, format, previous: None }
    }

    /// Writes a paragraph of text; nothing in JSON mode.
    pub(super) fn paragraph(&self, text: &str) -> io::Result<()> {
        self.lines(&wrap(text, self.format.width))
    }

    pub(super) fn begin_scenario(&mut self, heading: &str, introduction: &str) -> io::Result<()> {
        self.previous = None;
        self.lines(&[String::new(), self.format.heading(heading)])?;
        self.paragraph(introduction)
    }

    pub(super) fn event(&mut self, event: Event) -> io::Result<()> {
        if self.json {
            return json_line(&event.to_json());
        }
        self.lines(&render::event(&event, self.previous.as_ref(), self.format))?;
        if let Response::Status(resource) = event.response {
            self.previous = Some(resource);
        }
        Ok(())
    }

    pub(super) fn summary(&self, outcomes: &[Outcome]) -> io::Result<()> {
        if self.json {
            let summary: Vec<Value> = outcomes.iter().map(Outcome::to_json).collect();
            let as_expected = outcomes.iter().all(|outcome| outcome.deviations().is_empty());
            return json_line(&json!({"summary": summary, "as_expected": as_expected}));
        }
        self.lines(&[String::new()])?;
        self.lines(&render::summary(outcomes, self.format))
    }

    fn lines(&self, lines: &[String]) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        lines.iter().try_for_each(|line| write_line(&mut out, line))
    }
}

fn json_line(value: &Value) -> io::Result<()> {
    write_line(&mut io::stdout().lock(), &value.to_string())
}

fn write_line(out: &mut impl io::Write, line: &str) -> io::Result<()> {
    writeln!(out, "{line}").map_err(|error| {
        io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))
    })
}
