//! The delivery of a run's logs, poll by poll. Pure: what is to be done is told to the storage.

use crate::script::LogDelivery;

/// How far a run's logs are delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delivered {
    /// Bytes of stdout and of stderr.
    bytes: [usize; 2],
    deliveries: u32,
    rotations: u32,
}

/// One change of the files of a driver.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Append { file: &'static str, text: String },
    Rotate { file: &'static str, to: String },
}

impl Delivered {
    /// The next part, or all that is left.
    pub(crate) fn go_on(&mut self, script: &LogDelivery, all: bool) -> Vec<Change> {
        let mut changes = Vec::new();
        let files = [("stdout", &script.stdout), ("stderr", &script.stderr)];
        let is_due = script.rotate_every > 0
            && self.deliveries > 0
            && self.deliveries.is_multiple_of(script.rotate_every);
        if is_due {
            let to = time(self.rotations);
            self.rotations += 1;
            for (file, _) in files {
                changes.push(Change::Rotate { file, to: format!("{file}--{to}") });
            }
        }
        for ((file, text), delivered) in files.into_iter().zip(&mut self.bytes) {
            let rest = text.get(*delivered..).unwrap_or_default();
            let lines = if all { usize::MAX } else { script.lines.max(1) as usize };
            let part: String = rest.split_inclusive('\n').take(lines).collect();
            if !part.is_empty() {
                *delivered += part.len();
                changes.push(Change::Append { file, text: part });
            }
        }
        self.deliveries = self.deliveries.saturating_add(1);
        changes
    }
}

/// The time in the name of a rotated file: an hour later each time.
fn time(rotation: u32) -> String {
    let (day, hour) = (rotation / 24, rotation % 24);
    let (month, day) = (day / 28, day % 28);
    format!("{}-{:02}-{:02}--{hour:02}-00", 2026 + month / 12, month % 12 + 1, day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_come_in_parts_and_are_rotated_between_them() {
        let script = LogDelivery {
            stdout: "1\n2\n3\n4".to_owned(),
            stderr: "e\n".to_owned(),
            lines: 2,
            rotate_every: 1,
        };
        let mut delivered = Delivered::default();
        let append = |file, text: &str| Change::Append { file, text: text.to_owned() };
        let rotate =
            |file: &'static str, to: &str| Change::Rotate { file, to: format!("{file}--{to}") };
        assert_eq!(
            delivered.go_on(&script, false),
            [append("stdout", "1\n2\n"), append("stderr", "e\n")]
        );
        let first = "2026-01-01--00-00";
        assert_eq!(
            delivered.go_on(&script, true),
            [rotate("stdout", first), rotate("stderr", first), append("stdout", "3\n4")]
        );
        assert_eq!(time(24 * 28 * 12 + 25), "2027-01-02--01-00");
    }
}
