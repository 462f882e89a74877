//! The progress of a run through the steps of its script. Callers supply all times.

use super::script::{LifeCycle, Pace, Step};
use std::time::Duration;

/// The steps of a run, and when it entered each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timeline {
    pace: Pace,
    steps: Vec<Step>,
    /// The current step. Equal to the number of steps if the run has ended.
    index: usize,
    /// The number of polls of the current step.
    polls: u64,
    /// When each step so far, and the end, was entered, since the epoch.
    entered: Vec<Duration>,
    cancelled: bool,
    /// The step that it leaves only by `release` or `cancel`.
    held: Option<usize>,
}

/// The durations that the service measures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Durations {
    pub(crate) queue: Duration,
    pub(crate) setup: Duration,
    pub(crate) execution: Duration,
    pub(crate) cleanup: Duration,
}

impl Timeline {
    /// Creates the timeline of a run submitted now.
    pub(crate) fn new(pace: Pace, steps: Vec<Step>, now: Duration) -> Self {
        Self { pace, steps, index: 0, polls: 0, entered: vec![now], cancelled: false, held: None }
    }

    /// Holds the run in the first step with this state until it is released. Adds such a step if there is none.
    pub(crate) fn hold_in(mut self, state: &LifeCycle) -> Self {
        let index = self.steps.iter().position(|step| step.state == *state);
        self.held = Some(index.unwrap_or_else(|| {
            self.steps.push(Step::new(state.clone()));
            self.steps.len() - 1
        }));
        self
    }

    /// True if the run is in the step in which it is held.
    pub(crate) fn is_held(&self) -> bool {
        self.held == Some(self.index)
    }

    /// Returns the time from the start to the step in which the run is held, if the pace is by time.
    pub(crate) fn time_to_hold(&self) -> Option<Duration> {
        let (Pace::Elapsed(pace), Some(held)) = (self.pace, self.held) else { return None };
        let paces = self.steps.iter().take(held).map(|step| step.hold.max(1));
        Some(paces.fold(Duration::ZERO, |sum, hold| sum.saturating_add(pace.saturating_mul(hold))))
    }

    /// Leaves the step in which the run is held. Does nothing in another step.
    pub(crate) fn release(&mut self, at: Duration) {
        if self.is_held() {
            let since = self.entered.last().copied().unwrap_or_default();
            self.enter_next(at.max(since));
        }
    }

    /// Returns the current step, or `None` if the run has ended.
    pub(crate) fn step(&self) -> Option<&Step> {
        self.steps.get(self.index)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.step().is_none()
    }

    /// True if the run was cancelled before it ended.
    pub(crate) fn cancelled(&self) -> bool {
        self.cancelled
    }

    /// Returns the time of the submit.
    pub(crate) fn started(&self) -> Duration {
        self.entered.first().copied().unwrap_or_default()
    }

    /// Returns the time at which the run ended.
    pub(crate) fn end(&self) -> Option<Duration> {
        if self.has_ended() { self.entered.last().copied() } else { None }
    }

    /// True if the run is or was in this state.
    pub(crate) fn reached(&self, state: &LifeCycle) -> bool {
        self.steps.iter().take(self.index + 1).any(|step| step.state == *state)
    }

    /// Returns when the run first entered this state.
    pub(crate) fn entered(&self, state: &LifeCycle) -> Option<Duration> {
        let mut steps = self.steps.iter().zip(&self.entered);
        steps.find(|(step, _)| step.state == *state).map(|(_, at)| *at)
    }

    /// Advances the run to this time, if the pace is by time.
    pub(crate) fn settle(&mut self, now: Duration) {
        let Pace::Elapsed(pace) = self.pace else { return };
        while let (Some(step), Some(&since), false) =
            (self.step(), self.entered.last(), self.is_held())
        {
            let until = since.saturating_add(pace.saturating_mul(step.hold.max(1)));
            if until > now {
                return;
            }
            self.enter_next(until);
        }
    }

    /// Counts a poll. First moves to the next step if enough polls have seen the current one.
    pub(crate) fn poll(&mut self, now: Duration) {
        self.settle(now);
        if let (Pace::PerPoll(polls), Some(step)) = (self.pace, self.step()) {
            let paces = u64::from(polls.max(1)) * u64::from(step.hold.max(1));
            if self.polls >= paces && !self.is_held() {
                self.enter_next(now);
            }
            self.polls += 1;
        }
    }

    /// Moves the run one step, regardless of its pace, unless it is held.
    pub(crate) fn advance(&mut self, now: Duration) {
        self.settle(now);
        if !self.has_ended() && !self.is_held() {
            self.enter_next(now);
        }
    }

    /// Cancels the run: it is TERMINATING for one step. Does nothing if it has ended or is already cancelled.
    pub(crate) fn cancel(&mut self, now: Duration) {
        self.settle(now);
        if self.has_ended() || self.cancelled {
            return;
        }
        self.cancelled = true;
        self.held = None;
        self.steps.truncate(self.index + 1);
        self.steps.push(Step::new(LifeCycle::Terminating));
        self.enter_next(now);
    }

    /// Returns the timeline as it was this many steps ago, at most at its first step.
    pub(crate) fn stepped_back(&self, steps: u32) -> Self {
        let mut earlier = self.clone();
        let steps = usize::try_from(steps).unwrap_or(usize::MAX);
        earlier.index = self.index.saturating_sub(steps);
        earlier.entered.truncate(earlier.index + 1);
        earlier
    }

    /// Returns the time spent in each measured state so far.
    pub(crate) fn durations(&self, now: Duration) -> Durations {
        let mut durations = Durations::default();
        for (index, (step, since)) in self.steps.iter().zip(&self.entered).enumerate() {
            let until = self.entered.get(index + 1).copied().unwrap_or(now);
            let spent = until.saturating_sub(*since);
            let measured = match step.state {
                LifeCycle::Queued | LifeCycle::Blocked => &mut durations.queue,
                LifeCycle::Pending => &mut durations.setup,
                LifeCycle::Terminating => &mut durations.cleanup,
                LifeCycle::Running | LifeCycle::WaitingForRetry | LifeCycle::Other(_) => {
                    &mut durations.execution
                }
            };
            *measured += spent;
        }
        durations
    }

    fn enter_next(&mut self, now: Duration) {
        self.index += 1;
        self.polls = 0;
        self.entered.push(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn timeline(pace: Pace) -> Timeline {
        let steps =
            [LifeCycle::Queued, LifeCycle::Pending, LifeCycle::Running].map(Step::new).into();
        Timeline::new(pace, steps, at(100))
    }

    fn state(timeline: &Timeline) -> &str {
        timeline.step().map_or("END", |step| step.state.as_str())
    }

    fn polled(timeline: &mut Timeline, polls: usize) -> Vec<String> {
        let poll = |_| {
            timeline.poll(at(100));
            state(timeline).to_owned()
        };
        (0..polls).map(poll).collect()
    }

    #[test]
    fn every_poll_returns_the_next_step() {
        assert_eq!(
            polled(&mut timeline(Pace::PerPoll(1)), 5),
            ["QUEUED", "PENDING", "RUNNING", "END", "END"]
        );
    }

    #[test]
    fn slower_pace_shows_each_step_to_several_polls() {
        let seen = polled(&mut timeline(Pace::PerPoll(2)), 7);
        assert_eq!(seen, ["QUEUED", "QUEUED", "PENDING", "PENDING", "RUNNING", "RUNNING", "END"]);
        assert_eq!(polled(&mut timeline(Pace::PerPoll(0)), 2), ["QUEUED", "PENDING"]);
    }

    #[test]
    fn step_lasts_as_many_paces_as_its_hold() {
        let steps = vec![Step::new(LifeCycle::Running).with_hold(3)];
        let mut polls = Timeline::new(Pace::PerPoll(1), steps.clone(), at(0));
        assert_eq!(polled(&mut polls, 4), ["RUNNING", "RUNNING", "RUNNING", "END"]);

        let mut timed = Timeline::new(Pace::Elapsed(at(2)), steps, at(0));
        timed.settle(at(5));
        assert_eq!(state(&timed), "RUNNING");
        timed.settle(at(6));
        assert_eq!((state(&timed), timed.end()), ("END", Some(at(6))));
    }

    #[test]
    fn elapsed_time_advances_a_run_without_polls() {
        let mut timeline = timeline(Pace::Elapsed(at(10)));
        timeline.settle(at(109));
        assert_eq!(state(&timeline), "QUEUED");
        timeline.poll(at(125));
        assert_eq!(state(&timeline), "RUNNING");
        assert_eq!(timeline.durations(at(125)).execution, at(5));
        timeline.settle(at(1000));
        let durations = timeline.durations(at(1000));
        assert_eq!(timeline.end(), Some(at(130)));
        assert_eq!(
            (durations.queue, durations.setup, durations.execution),
            (at(10), at(10), at(10))
        );
    }

    #[test]
    fn run_without_steps_ends_immediately() {
        let timeline = Timeline::new(Pace::Manual, Vec::new(), at(7));
        assert_eq!((timeline.has_ended(), timeline.end()), (true, Some(at(7))));
    }

    #[test]
    fn manual_run_moves_by_advance_only() {
        let mut timeline = timeline(Pace::Manual);
        timeline.settle(at(9999));
        assert_eq!(polled(&mut timeline, 9).last().unwrap(), "QUEUED");
        for expected in ["PENDING", "RUNNING", "END", "END"] {
            timeline.advance(at(200));
            assert_eq!(state(&timeline), expected);
        }
    }

    #[test]
    fn cancelled_run_is_terminating_for_one_step() {
        let mut cancelled = timeline(Pace::PerPoll(1));
        assert_eq!(polled(&mut cancelled, 2), ["QUEUED", "PENDING"]);
        cancelled.cancel(at(150));
        cancelled.cancel(at(151));
        assert_eq!(polled(&mut cancelled, 2), ["TERMINATING", "END"]);
        assert!(cancelled.cancelled());

        let mut timed = timeline(Pace::Elapsed(at(10)));
        timed.cancel(at(105));
        assert_eq!(state(&timed), "TERMINATING");
        timed.settle(at(115));
        assert_eq!(timed.end(), Some(at(115)));
    }

    #[test]
    fn held_run_stays_until_released_or_cancelled() {
        let held = |pace| timeline(pace).hold_in(&LifeCycle::Running);
        let mut polls = held(Pace::PerPoll(1));
        assert_eq!(polled(&mut polls, 5).last().unwrap(), "RUNNING");
        polls.advance(at(101));
        assert!(polls.is_held());
        polls.release(at(90));
        // Never earlier than it was entered, even if the clock went back.
        assert_eq!(polls.end(), Some(at(100)));

        let mut timed = held(Pace::Elapsed(at(10)));
        assert_eq!(timed.time_to_hold(), Some(at(20)));
        timed.release(at(105));
        timed.settle(at(1000));
        assert_eq!(state(&timed), "RUNNING");
        timed.release(at(1001));
        assert_eq!(timed.end(), Some(at(1001)));

        // TERMINATING replaces the step in which the run would have been held.
        let mut cancelled = held(Pace::PerPoll(1));
        polled(&mut cancelled, 2);
        cancelled.cancel(at(150));
        assert_eq!(polled(&mut cancelled, 2), ["TERMINATING", "END"]);
    }

    #[test]
    fn hold_adds_a_step_if_no_step_has_the_state() {
        let mut timeline =
            Timeline::new(Pace::PerPoll(1), Vec::new(), at(0)).hold_in(&LifeCycle::Running);
        assert_eq!(polled(&mut timeline, 2), ["RUNNING", "RUNNING"]);
        assert_eq!(timeline.time_to_hold(), None);
    }

    #[test]
    fn ended_run_is_not_cancelled() {
        let mut timeline = timeline(Pace::Elapsed(at(1)));
        timeline.cancel(at(500));
        assert!(timeline.has_ended() && !timeline.cancelled());
    }

    #[test]
    fn stepped_back_timeline_equals_the_earlier_one() {
        let mut timeline = timeline(Pace::PerPoll(1));
        polled(&mut timeline, 4);
        assert!(timeline.has_ended());
        let earlier = timeline.stepped_back(1);
        assert_eq!((state(&earlier), earlier.end()), ("RUNNING", None));
        assert_eq!(earlier, {
            let mut same = self::timeline(Pace::PerPoll(1));
            polled(&mut same, 3);
            Timeline { polls: earlier.polls, ..same }
        });
        assert_eq!(state(&timeline.stepped_back(9)), "QUEUED");
    }

    #[test]
    fn state_is_reached_when_entered() {
        let mut timeline = timeline(Pace::Manual);
        assert!(!timeline.reached(&LifeCycle::Pending));
        timeline.advance(at(101));
        assert!(timeline.reached(&LifeCycle::Pending) && !timeline.reached(&LifeCycle::Running));
        timeline.cancel(at(102));
        timeline.advance(at(103));
        assert!(timeline.has_ended() && !timeline.reached(&LifeCycle::Running));
    }
}
