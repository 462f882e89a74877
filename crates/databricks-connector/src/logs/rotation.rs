//! The files that one stream of a driver is delivered as: those that were rotated away, then the one that grows
//! (DA §5.1). Pure.

use serde::{Deserialize, Serialize};

use super::place::Place;

/// The longest name of a rotated file behind that of its stream.
const MAX_SUFFIX: usize = 64;

/// What a driver writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// `stdout`.
    Out,
    /// `stderr`.
    Err,
}

impl Stream {
    pub(super) const ALL: [Self; 2] = [Self::Out, Self::Err];

    /// The name of the file that grows (DA §5.1).
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Out => "stdout",
            Self::Err => "stderr",
        }
    }
}

/// A file of a folder, as its listing tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: String,
    /// In bytes.
    pub(super) size: u64,
    /// When it was written, in milliseconds since the epoch.
    pub(super) modified: i64,
}

/// The part of a rotated file's name that tells when: what its names are sorted by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Rotated(String);

impl TryFrom<String> for Rotated {
    type Error = &'static str;

    fn try_from(suffix: String) -> Result<Self, Self::Error> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if suffix.len() <= MAX_SUFFIX && suffix.chars().all(is_plain) {
            Ok(Self(suffix))
        } else {
            Err("not the name of a rotated file")
        }
    }
}

/// How far a stream is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The last rotated file that was read to its end.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    after: Option<Rotated>,
    /// The place in the file behind it.
    #[serde(flatten)]
    place: Place,
}

/// What to do next with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// All that is there was read.
    Wait,
    /// Read on in this file.
    Read {
        file: &'a Listed,
        /// Whether it grows. It may be rotated away while it is read.
        grows: bool,
    },
    /// The file that grows may still be what this rotated one was made of: compare them first.
    Compare { rotated: &'a Listed, growing: &'a Listed },
    /// What was read up to here is no longer there, or cannot be read.
    Skip { file: &'a Listed, why: Skipped },
}

/// Why a part of a stream is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skipped {
    /// The file is shorter than what was read of it, so it is another.
    Replaced,
    /// The file is compressed.
    Compressed,
}

/// The files of one stream in a listing.
#[derive(Debug)]
pub(super) struct Sequence<'a> {
    rotated: Vec<(Rotated, &'a Listed)>,
    growing: Option<&'a Listed>,
}

impl<'a> Sequence<'a> {
    /// Picks those of the stream: its own name, and its name with a time behind it. How rotated files are named is not
    /// documented (DA §9), so whatever has a year behind the name counts.
    pub(super) fn of(stream: Stream, files: &'a [Listed]) -> Self {
        let mut rotated: Vec<_> = files
            .iter()
            .filter_map(|file| Some((rotated(file.name.strip_prefix(stream.name())?)?, file)))
            .collect();
        rotated.sort();
        // Plain and compressed are one file; the plain one comes first.
        rotated.dedup_by(|later, earlier| later.0 == earlier.0);
        Self { rotated, growing: files.iter().find(|file| file.name == stream.name()) }
    }

    /// Whether there is any.
    pub(super) fn is_empty(&self) -> bool {
        self.rotated.is_empty() && self.growing.is_none()
    }

    /// Whether nothing comes behind this file.
    pub(super) fn is_last(&self, file: &Listed) -> bool {
        let last = self.growing.filter(|growing| growing.size > 0);
        let last = last.or_else(|| self.rotated.last().map(|(_, file)| *file));
        last.is_some_and(|last| last.name == file.name)
    }

    /// The first rotated file that is not read to its end.
    fn next_rotated(&self, position: &Position) -> Option<&(Rotated, &'a Listed)> {
        self.rotated
            .iter()
            .find(|(name, _)| position.after.as_ref().is_none_or(|after| name > after))
    }

    /// Whether a file was rotated away that was not there before.
    pub(super) fn has_rotated(&self, position: &Position) -> bool {
        self.next_rotated(position).is_some()
    }
}

impl Ord for Listed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // The longer name is the compressed one.
        (self.name.len(), &self.name).cmp(&(other.name.len(), &other.name))
    }
}

impl PartialOrd for Listed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The time in a rotated file's name, such as `2026-11-23--15-00`; none for another file.
fn rotated(rest: &str) -> Option<Rotated> {
    let suffix = rest.trim_start_matches(['-', '_', '.']);
    let year = suffix.get(..4)?;
    let is_year = year.starts_with("20") && year.bytes().all(|byte| byte.is_ascii_digit());
    if suffix.len() == rest.len() || !is_year {
        return None;
    }
    Rotated::try_from(suffix.strip_suffix(".gz").unwrap_or(suffix).to_owned()).ok()
}

impl Position {
    /// The place in the file that is being read.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Nothing was read so far.
    pub(super) fn is_start(&self) -> bool {
        *self == Self::default()
    }

    /// What to do next; files that were read to their end are left behind on the way.
    pub(super) fn step<'a>(&mut self, files: &Sequence<'a>) -> Step<'a> {
        while let Some((name, file)) = files.next_rotated(self) {
            if std::path::Path::new(&file.name).extension().is_some_and(|end| end == "gz") {
                return Step::Skip { file, why: Skipped::Compressed };
            }
            match file.size.cmp(&self.place.offset) {
                std::cmp::Ordering::Greater => return Step::Read { file, grows: false },
                // It may not be whole yet, as long as nothing came behind it.
                std::cmp::Ordering::Equal if files.is_last(file) => return Step::Wait,
                std::cmp::Ordering::Equal => {
                    *self = Self { after: Some(name.clone()), place: Place::default() };
                }
                std::cmp::Ordering::Less => return Step::Skip { file, why: Skipped::Replaced },
            }
        }
        let Some(growing) = files.growing else { return Step::Wait };
        if growing.size <= self.place.offset {
            // Nothing new, or a new file in place of one whose rotated name is not there yet.
            return Step::Wait;
        }
        let before = files.rotated.iter().find(|(name, _)| self.after.as_ref() == Some(name));
        match before {
            Some((_, rotated))
                if self.place.offset == 0
                    && growing.size <= rotated.size
                    && growing.modified <= rotated.modified =>
            {
                Step::Compare { rotated, growing }
            }
            _ => Step::Read { file: growing, grows: true },
        }
    }

    /// So many bytes further in the same file; `before` are the bytes that end there.
    pub(super) fn advance(&mut self, further: usize, before: &[u8]) {
        self.place = self.place.on(further, before);
    }

    /// Gives up the place, and goes on with the start of what is there; behind a compressed file.
    pub(super) fn skip(&mut self, files: &Sequence<'_>, why: Skipped) {
        if why == Skipped::Compressed
            && let Some((name, _)) = files.next_rotated(self)
        {
            self.after = Some(name.clone());
        }
        self.place = Place::default();
    }
}

#[cfg(test)]
mod tests;
