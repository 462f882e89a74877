//! The live lines of a terminal: one for each scene, below all other lines.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use console::truncate_str;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::scenes::Scene;

const TICK: Duration = Duration::from_millis(80);

/// What stands before a message, and a little room.
const MARGIN: usize = 8;

/// The templates, by how far a scene is.
const WAITING: &str = "  · {msg:.dim}";
const PRESENT: &str = "  {spinner:.cyan} {msg}";
const AS_EXPECTED: &str = "  ✓ {msg}";
const OTHER: &str = "  ✗ {msg}";

#[derive(Debug)]
pub(super) struct Live {
    lines: MultiProgress,
    scenes: Vec<LiveScene>,
    present: usize,
    width: usize,
}

#[derive(Debug)]
struct LiveScene {
    bar: ProgressBar,
    title: &'static str,
    polls: u32,
}

impl Live {
    pub(super) fn new(scenes: &[Scene], width: usize) -> Self {
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let scenes = scenes.iter().map(|scene| {
            let bar = lines.add(ProgressBar::new_spinner().with_style(style(WAITING)));
            bar.set_message(scene.title);
            bar.tick();
            LiveScene { bar, title: scene.title, polls: 0 }
        });
        let scenes = scenes.collect();
        Self { lines, scenes, present: 0, width: width.saturating_sub(MARGIN) }
    }

    /// Prints a line above the live ones.
    pub(super) fn above(&self, line: &str) -> io::Result<()> {
        self.lines.println(line)
    }

    /// That scene is now the present one.
    pub(super) fn begin(&mut self, at: usize) {
        self.present = at;
        if let Some(scene) = self.scenes.get(at) {
            scene.bar.set_style(style(PRESENT));
            scene.bar.enable_steady_tick(TICK);
        }
    }

    /// The present scene's run stands so, as one more answer says.
    pub(super) fn stands(&mut self, words: &str) {
        if let Some(scene) = self.scenes.get_mut(self.present) {
            scene.polls += 1;
            let message = format!("{}, GetTask no. {}: {words}", scene.title, scene.polls);
            scene.bar.set_message(truncate_str(&message, self.width, "…").into_owned());
        }
    }

    /// The present scene ended so.
    pub(super) fn over(&self, end: &str, as_expected: bool) {
        if let Some(scene) = self.scenes.get(self.present) {
            scene.bar.disable_steady_tick();
            scene.bar.set_style(style(if as_expected { AS_EXPECTED } else { OTHER }));
            scene.bar.set_message(format!("{}: {end}", scene.title));
        }
    }

    /// Leaves the live lines as they stand. After a `^C`, which the terminal has written below them, they cannot be
    /// taken away: the cursor is not where it was left.
    pub(super) fn leave(&self) -> io::Result<()> {
        self.lines.set_draw_target(ProgressDrawTarget::hidden());
        writeln!(io::stdout())
    }

    /// Takes the live lines away.
    pub(super) fn clear(&self) {
        for scene in &self.scenes {
            scene.bar.finish_and_clear();
        }
    }
}

/// A style; a test holds that the templates are well formed.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_well_formed() {
        for template in [WAITING, PRESENT, AS_EXPECTED, OTHER] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
