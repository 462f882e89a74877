//! Who may call now, and who waits. Pure: the clock is handed in.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{BudgetPolicy, Lane, bucket::Bucket};

/// Callers that wait in one lane at most.
const MAX_WAITING: usize = 5_000;

/// The longest pause that an answer can ask of everybody. Past it a few calls find out whether it still holds: a broken
/// clock or proxy must not silence a workspace for hours.
pub(crate) const LONGEST_HOLD: Duration = Duration::from_mins(1);

/// The place of a caller in its lane.
pub(crate) type Ticket = u64;

/// Two lanes of callers, first come, first served in each.
#[derive(Debug)]
pub(crate) struct Queue {
    max_in_flight: u32,
    /// Of one lane, so that the other never finds all places taken.
    max_in_lane: u32,
    reads: LaneState,
    writes: LaneState,
    next: Ticket,
}

#[derive(Debug)]
struct LaneState {
    bucket: Bucket,
    /// In the order of their coming, so ascending.
    waiting: VecDeque<Ticket>,
    in_flight: u32,
    /// When the rate was cut last.
    cut_at: Option<Instant>,
}

/// What a caller that asks is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Go now.
    Granted,
    /// Wait for the grant of this ticket.
    Queued(Ticket),
    /// It makes no sense to wait.
    Refused(Hopeless),
}

/// Why it makes no sense to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hopeless {
    /// How long it would take at least, as far as the rate tells.
    pub(crate) wait: Duration,
    /// How many wait already.
    pub(crate) waiting: usize,
}

/// What an answer of the workspace asks of everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold {
    /// When the call that was answered had been let through.
    pub(crate) granted_at: Instant,
    /// How long nobody should call, if it says so.
    pub(crate) retry_after: Option<Duration>,
}

impl Queue {
    pub(crate) fn new(policy: BudgetPolicy, now: Instant) -> Self {
        let lane = |rate| LaneState {
            bucket: Bucket::new(rate, now),
            waiting: VecDeque::new(),
            in_flight: 0,
            cut_at: None,
        };
        let max_in_flight = policy.max_in_flight.get();
        let reserved = if max_in_flight > 1 { (max_in_flight / 4).max(1) } else { 0 };
        Self {
            max_in_flight,
            max_in_lane: max_in_flight - reserved,
            reads: lane(policy.reads),
            writes: lane(policy.writes),
            next: 0,
        }
    }

    /// Asks for a place before the deadline. Grant who is due first: see [`Queue::grants`].
    pub(crate) fn ask(&mut self, lane: Lane, deadline: Instant, now: Instant) -> Asked {
        let waiting = self.lane(lane).waiting.len();
        let wait = self.lane(lane).bucket.wait_for(waiting + 1, now);
        if wait >= deadline.saturating_duration_since(now) || waiting >= MAX_WAITING {
            return Asked::Refused(Hopeless { wait, waiting });
        }
        if waiting == 0 && self.may_go(lane, now) {
            self.go(lane, now);
            return Asked::Granted;
        }
        let ticket = self.next;
        self.next += 1;
        self.lane_mut(lane).waiting.push_back(ticket);
        Asked::Queued(ticket)
    }

    /// Lets everybody go who is due, the earliest first, and tells their tickets.
    pub(crate) fn grants(&mut self, now: Instant) -> Vec<Ticket> {
        let mut granted = Vec::new();
        while let Some((ticket, lane)) = [Lane::Reads, Lane::Writes]
            .into_iter()
            .filter(|lane| self.may_go(*lane, now))
            .filter_map(|lane| self.lane(lane).waiting.front().map(|ticket| (*ticket, lane)))
            .min_by_key(|(ticket, _)| *ticket)
        {
            self.lane_mut(lane).waiting.pop_front();
            self.go(lane, now);
            granted.push(ticket);
        }
        granted
    }

    /// The first callers of each lane. They see to it that time lets somebody go.
    pub(crate) fn heads(&self) -> impl Iterator<Item = Ticket> {
        [&self.reads, &self.writes].into_iter().filter_map(|lane| lane.waiting.front().copied())
    }

    /// When time alone lets this caller go: none while others stand before it, or no place is free.
    pub(crate) fn due(&self, lane: Lane, ticket: Ticket, now: Instant) -> Option<Instant> {
        let is_head = self.lane(lane).waiting.front() == Some(&ticket);
        (is_head && self.has_place(lane)).then(|| now + self.lane(lane).bucket.wait_for(1, now))
    }

    /// A caller no longer waits. Whether it still did.
    pub(crate) fn leave(&mut self, lane: Lane, ticket: Ticket) -> bool {
        let waiting = &mut self.lane_mut(lane).waiting;
        waiting.binary_search(&ticket).is_ok_and(|place| waiting.remove(place).is_some())
    }

    /// A call that was let go is over.
    pub(crate) fn finish(&mut self, lane: Lane) {
        let lane = self.lane_mut(lane);
        lane.in_flight = lane.in_flight.saturating_sub(1);
    }

    /// The workspace answered 429 to a call of this lane. Calls that were let through before the last cut say nothing
    /// new about the rate, but the pause that they are told counts.
    pub(crate) fn limited(&mut self, lane: Lane, hold: Hold, now: Instant) {
        let limited = self.lane_mut(lane);
        if limited.cut_at.is_none_or(|cut_at| hold.granted_at > cut_at) {
            limited.bucket.cut(now);
            limited.cut_at = Some(now);
        }
        if let Some(pause) = hold.retry_after {
            let until = now + pause.min(LONGEST_HOLD);
            self.reads.bucket.hold(until, now);
            self.writes.bucket.hold(until, now);
        }
    }

    /// Calls under way, callers that wait, and calls a second, by the rate of now.
    pub(crate) fn load(&self, lane: Lane, now: Instant) -> (u32, usize, f64) {
        let lane = self.lane(lane);
        (lane.in_flight, lane.waiting.len(), lane.bucket.rate(now))
    }

    /// Whether it remembers nothing that a new one would not.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        [&self.reads, &self.writes]
            .into_iter()
            .all(|lane| lane.in_flight == 0 && lane.waiting.is_empty() && lane.bucket.is_full(now))
    }

    fn may_go(&self, lane: Lane, now: Instant) -> bool {
        self.has_place(lane) && self.lane(lane).bucket.has_token(now)
    }

    fn has_place(&self, lane: Lane) -> bool {
        let taken = self.reads.in_flight + self.writes.in_flight;
        taken < self.max_in_flight && self.lane(lane).in_flight < self.max_in_lane
    }

    fn go(&mut self, lane: Lane, now: Instant) {
        let lane = self.lane_mut(lane);
        lane.bucket.take(now);
        lane.in_flight += 1;
    }

    fn lane(&self, lane: Lane) -> &LaneState {
        match lane {
            Lane::Reads => &self.reads,
            Lane::Writes => &self.writes,
        }
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut LaneState {
        match lane {
            Lane::Reads => &mut self.reads,
            Lane::Writes => &mut self.writes,
        }
    }
}

#[cfg(test)]
mod tests;
