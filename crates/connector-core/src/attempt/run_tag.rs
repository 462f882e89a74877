//! The run tag: text in a run's name or description that identifies the attempt the run is for.

use std::fmt;

use super::AttemptId;

/// One run of one attempt of one action of one Flyte installation, such as `[flyte:0123456789abcdef:2]`. After abandoned
/// creates of the same attempt their number follows: `[flyte:0123456789abcdef:2.1]`.
///
/// Put it into a field of the run that the service returns in its lists. A connector finds orphans by it: runs of earlier
/// attempts, and runs whose create was answered with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunTag {
    action_key: String,
    /// Counts from 1, as Flyte's own label does.
    attempt: u32,
    abandoned: u32,
}

impl RunTag {
    /// Returns the tag of an attempt, or `None` when the attempt is not [identified](AttemptId::is_identified).
    pub fn new(attempt: &AttemptId) -> Option<Self> {
        Some(Self {
            action_key: attempt.action_key()?,
            attempt: attempt.attempt_number(),
            abandoned: attempt.abandoned_creates(),
        })
    }

    /// Returns the last tag in a text, if the text has one.
    pub fn find(text: &str) -> Option<Self> {
        let (_, tag) = text.rsplit_once("[flyte:")?;
        let (tag, _) = tag.split_once(']')?;
        let (action_key, attempt) = tag.split_once(':')?;
        let (attempt, abandoned) = attempt.split_once('.').unwrap_or((attempt, "0"));
        Some(Self {
            action_key: action_key.to_owned(),
            attempt: attempt.parse().ok()?,
            abandoned: abandoned.parse().ok()?,
        })
    }

    /// True if the other tag is of the same action, and of the same or an earlier attempt.
    ///
    /// A run that replaced the abandoned run of this tag is newer than the tag: a late search must not find it.
    pub fn covers(&self, other: &Self) -> bool {
        other.action_key == self.action_key
            && (other.attempt, other.abandoned) <= (self.attempt, self.abandoned)
    }

    /// Returns the latest possible tag of the previous attempt, or `None` for the first attempt.
    pub fn previous_attempt(&self) -> Option<Self> {
        (self.attempt > 1).then(|| Self {
            attempt: self.attempt - 1,
            abandoned: u32::MAX,
            ..self.clone()
        })
    }
}

impl fmt::Display for RunTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[flyte:{}:{}", self.action_key, self.attempt)?;
        // The latest possible tag represents all of the attempt.
        if self.abandoned > 0 && self.abandoned < u32::MAX {
            write!(f, ".{}", self.abandoned)?;
        }
        f.write_str("]")
    }
}
