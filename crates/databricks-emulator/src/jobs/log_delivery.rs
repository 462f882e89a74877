//! Delivers the scripted logs of a run, poll by poll.

use super::script::LogDelivery;
use crate::storage::data_files::FileChange;

/// How much of the logs of a run is delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeliveryCursor {
    /// Delivered bytes of stdout and stderr.
    bytes: [usize; 2],
    deliveries: u32,
    rotations: u32,
}

impl DeliveryCursor {
    /// Returns the next changes. With `all`, delivers everything that is left.
    pub(crate) fn next(&mut self, script: &LogDelivery, all: bool) -> Vec<FileChange> {
        let mut changes = Vec::new();
        let files = [("stdout", &script.stdout), ("stderr", &script.stderr)];
        let is_due = script.rotate_every > 0
            && self.deliveries > 0
            && self.deliveries.is_multiple_of(script.rotate_every);
        if is_due {
            let time = rotation_time(self.rotations);
            self.rotations += 1;
            for (file, _) in files {
                changes.push(FileChange::Rotate { file, to: format!("{file}--{time}") });
            }
        }
        for ((file, text), delivered) in files.into_iter().zip(&mut self.bytes) {
            let rest = text.get(*delivered..).unwrap_or_default();
            let lines = if all { usize::MAX } else { script.lines.max(1) as usize };
            let part: String = rest.split_inclusive('\n').take(lines).collect();
            if !part.is_empty() {
                *delivered += part.len();
                changes.push(FileChange::Append { file, text: part });
            }
        }
        self.deliveries = self.deliveries.saturating_add(1);
        changes
    }
}

/// Returns the time in the name of a rotated file, one hour later at each rotation.
fn rotation_time(rotation: u32) -> String {
    let (day, hour) = (rotation / 24, rotation % 24);
    let (month, day) = (day / 28, day % 28);
    format!("{}-{:02}-{:02}--{hour:02}-00", 2026 + month / 12, month % 12 + 1, day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_delivered_in_parts_and_rotated() {
        let script = LogDelivery {
            stdout: "1\n2\n3\n4".to_owned(),
            stderr: "e\n".to_owned(),
            lines: 2,
            rotate_every: 1,
        };
        let mut cursor = DeliveryCursor::default();
        let append = |file, text: &str| FileChange::Append { file, text: text.to_owned() };
        let rotate =
            |file: &'static str, to: &str| FileChange::Rotate { file, to: format!("{file}--{to}") };
        assert_eq!(
            cursor.next(&script, false),
            [append("stdout", "1\n2\n"), append("stderr", "e\n")]
        );
        let first = "2026-01-01--00-00";
        assert_eq!(
            cursor.next(&script, true),
            [rotate("stdout", first), rotate("stderr", first), append("stdout", "3\n4")]
        );
        assert_eq!(rotation_time(24 * 28 * 12 + 25), "2027-01-02--01-00");
    }
}
