//! The files of one driver stream: rotated files, then the active file (databricks-api.md#delivered-logs). Pure.

use serde::{Deserialize, Serialize};

use super::position::Position;
use task_storage::LogFile;

/// The longest suffix of a rotated file's name.
const MAX_SUFFIX: usize = 64;

/// An output stream of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputStream {
    Stdout,
    Stderr,
}

impl OutputStream {
    pub(super) const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// Returns the name of the active file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The timestamp suffix of a rotated file's name; rotated files sort by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct RotationSuffix(String);

impl TryFrom<String> for RotationSuffix {
    type Error = &'static str;

    fn try_from(suffix: String) -> Result<Self, Self::Error> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if suffix.len() <= MAX_SUFFIX && suffix.chars().all(is_plain) {
            Ok(Self(suffix))
        } else {
            Err("not the suffix of a rotated file")
        }
    }
}

/// How far a stream has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamCursor {
    /// The last rotated file that was read to its end.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    after: Option<RotationSuffix>,
    /// The position in the file after it.
    #[serde(flatten)]
    position: Position,
}

/// The next read of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextRead<'a> {
    /// Everything delivered so far has been read.
    UpToDate,
    /// Continue in this file.
    Read {
        file: &'a LogFile,
        /// Whether it is the active file, which may be rotated while it is read.
        is_active: bool,
    },
    /// The active file may still be the one that was copied to `rotated`: compare their content first.
    CompareFirst { rotated: &'a LogFile, active: &'a LogFile },
    /// The rest of this file cannot be read.
    Skip { file: &'a LogFile, reason: SkipReason },
}

/// Why part of a stream is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SkipReason {
    /// The file is shorter than what was read of it, so another file has taken its name.
    Replaced,
    /// The file is compressed.
    Compressed,
}

/// The files of one stream in a folder listing, in reading order.
#[derive(Debug)]
pub(super) struct StreamFiles<'a> {
    rotated: Vec<(RotationSuffix, &'a LogFile)>,
    active: Option<&'a LogFile>,
}

impl<'a> StreamFiles<'a> {
    /// Selects the files named after the stream, with or without a timestamp suffix. The names of rotated files are not
    /// documented (databricks-api.md#unverified), so any suffix that begins with a year counts.
    pub(super) fn of(stream: OutputStream, files: &'a [LogFile]) -> Self {
        let mut rotated: Vec<_> = files
            .iter()
            .filter_map(|file| {
                Some((rotation_suffix(file.name.strip_prefix(stream.name())?)?, file))
            })
            .collect();
        // Of a plain file and its compressed copy, the plain one sorts first and is kept.
        rotated.sort_by(|(a, one), (b, other)| (a, one.name.len()).cmp(&(b, other.name.len())));
        rotated.dedup_by(|later, earlier| later.0 == earlier.0);
        Self { rotated, active: files.iter().find(|file| file.name == stream.name()) }
    }

    /// True if the stream has no files.
    pub(super) fn is_empty(&self) -> bool {
        self.rotated.is_empty() && self.active.is_none()
    }

    /// True if no file follows this one.
    pub(super) fn is_last(&self, file: &LogFile) -> bool {
        let last = self.active.filter(|active| active.size > 0);
        let last = last.or_else(|| self.rotated.last().map(|(_, file)| *file));
        last.is_some_and(|last| last.name == file.name)
    }

    /// Returns the first rotated file that has not been read to its end.
    fn next_rotated(&self, cursor: &StreamCursor) -> Option<&(RotationSuffix, &'a LogFile)> {
        self.rotated.iter().find(|(name, _)| cursor.after.as_ref().is_none_or(|after| name > after))
    }

    /// True if a rotated file has appeared since the cursor moved.
    pub(super) fn has_rotated(&self, cursor: &StreamCursor) -> bool {
        self.next_rotated(cursor).is_some()
    }
}

/// Parses the end of a rotated file's name, such as `--2026-11-23--15-00`. Returns `None` for other files.
fn rotation_suffix(rest: &str) -> Option<RotationSuffix> {
    let suffix = rest.trim_start_matches(['-', '_', '.']);
    let year = suffix.get(..4)?;
    let is_year = year.starts_with("20") && year.bytes().all(|byte| byte.is_ascii_digit());
    if suffix.len() == rest.len() || !is_year {
        return None;
    }
    RotationSuffix::try_from(suffix.strip_suffix(".gz").unwrap_or(suffix).to_owned()).ok()
}

impl StreamCursor {
    /// Returns the position in the file that is being read.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// True if nothing has been read.
    pub(super) fn is_start(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the next read, and moves past files that have been read to their end.
    pub(super) fn next_read<'a>(&mut self, files: &StreamFiles<'a>) -> NextRead<'a> {
        while let Some((name, file)) = files.next_rotated(self) {
            if std::path::Path::new(&file.name).extension().is_some_and(|end| end == "gz") {
                return NextRead::Skip { file, reason: SkipReason::Compressed };
            }
            match file.size.cmp(&self.position.offset) {
                std::cmp::Ordering::Greater => {
                    return NextRead::Read { file, is_active: false };
                }
                // The last file may be delivered in part.
                std::cmp::Ordering::Equal if files.is_last(file) => return NextRead::UpToDate,
                std::cmp::Ordering::Equal => {
                    *self = Self { after: Some(name.clone()), position: Position::default() };
                }
                std::cmp::Ordering::Less => {
                    return NextRead::Skip { file, reason: SkipReason::Replaced };
                }
            }
        }
        let Some(active) = files.active else { return NextRead::UpToDate };
        if active.size <= self.position.offset {
            // Nothing new, or a new active file before the old one appears under its rotated name.
            return NextRead::UpToDate;
        }
        let before = files.rotated.iter().find(|(name, _)| self.after.as_ref() == Some(name));
        match before {
            Some((_, rotated))
                if self.position.offset == 0
                    && active.size <= rotated.size
                    && active.modified <= rotated.modified =>
            {
                NextRead::CompareFirst { rotated, active }
            }
            _ => NextRead::Read { file: active, is_active: true },
        }
    }

    /// Moves `further` bytes on in the same file. `before` ends at the new position.
    pub(super) fn advance(&mut self, further: usize, before: &[u8]) {
        self.position = self.position.advanced(further, before);
    }

    /// Restarts at the beginning of the file, or after a compressed one.
    pub(super) fn skip(&mut self, files: &StreamFiles<'_>, reason: SkipReason) {
        if reason == SkipReason::Compressed
            && let Some((name, _)) = files.next_rotated(self)
        {
            self.after = Some(name.clone());
        }
        self.position = Position::default();
    }
}

#[cfg(test)]
mod tests;
