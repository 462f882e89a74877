//! Where a run is on its script: pure, all times are given by the caller.

use crate::script::{LifeCycle, Pace, Step};
use std::time::Duration;

/// The way of one run through its steps, and when it entered each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timeline {
    pace: Pace,
    steps: Vec<Step>,
    /// The step it is in; the number of steps means that it has ended.
    index: usize,
    /// Polls that saw the present step.
    seen: u64,
    /// When each step so far was entered, the end included, as time since the epoch.
    entered: Vec<Duration>,
    cancelled: bool,
    /// The step that it does not leave by itself.
    held: Option<usize>,
}

/// How long a run was in the states that the service measures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Durations {
    pub(crate) queue: Duration,
    pub(crate) setup: Duration,
    pub(crate) execution: Duration,
    pub(crate) cleanup: Duration,
}

impl Timeline {
    /// A run that was submitted at this time.
    pub(crate) fn new(pace: Pace, steps: Vec<Step>, now: Duration) -> Self {
        Self { pace, steps, index: 0, seen: 0, entered: vec![now], cancelled: false, held: None }
    }

    /// Keeps it in the first step of this state until it is released. Without such a step there is one more.
    pub(crate) fn held_in(mut self, state: &LifeCycle) -> Self {
        let place = self.steps.iter().position(|step| step.state == *state);
        self.held = Some(place.unwrap_or_else(|| {
            self.steps.push(Step::new(state.clone()));
            self.steps.len() - 1
        }));
        self
    }

    /// Whether it is in the step that it does not leave by itself.
    pub(crate) fn is_held(&self) -> bool {
        self.held == Some(self.index)
    }

    /// When time alone brings it to the step that it is held in, counted from its start.
    pub(crate) fn time_to_hold(&self) -> Option<Duration> {
        let (Pace::Elapsed(pace), Some(held)) = (self.pace, self.held) else { return None };
        let paces = self.steps.iter().take(held).map(|step| step.hold.max(1));
        Some(paces.fold(Duration::ZERO, |sum, hold| sum.saturating_add(pace.saturating_mul(hold))))
    }

    /// Ends the step that it is held in, at this time. Nothing when it is in another.
    pub(crate) fn release(&mut self, at: Duration) {
        if self.is_held() {
            let since = self.entered.last().copied().unwrap_or_default();
            self.enter_next(at.max(since));
        }
    }

    /// The step it is in; `None` once it has ended.
    pub(crate) fn step(&self) -> Option<&Step> {
        self.steps.get(self.index)
    }

    pub(crate) fn ended(&self) -> bool {
        self.step().is_none()
    }

    /// Whether it was cancelled before it had ended.
    pub(crate) fn cancelled(&self) -> bool {
        self.cancelled
    }

    /// When it was submitted.
    pub(crate) fn started(&self) -> Duration {
        self.entered.first().copied().unwrap_or_default()
    }

    /// When it ended, if it has.
    pub(crate) fn end(&self) -> Option<Duration> {
        if self.ended() { self.entered.last().copied() } else { None }
    }

    /// Whether it is or was in a state, or has passed it.
    pub(crate) fn reached(&self, state: &LifeCycle) -> bool {
        self.steps.iter().take(self.index + 1).any(|step| step.state == *state)
    }

    /// When it entered a state for the first time, if it has.
    pub(crate) fn entered(&self, state: &LifeCycle) -> Option<Duration> {
        let mut steps = self.steps.iter().zip(&self.entered);
        steps.find(|(step, _)| step.state == *state).map(|(_, at)| *at)
    }

    /// Lets the time that has passed move it.
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

    /// Counts a poll. It moves before the poll is answered, once enough others have seen the present step.
    pub(crate) fn poll(&mut self, now: Duration) {
        self.settle(now);
        if let (Pace::PerPoll(polls), Some(step)) = (self.pace, self.step()) {
            let paces = u64::from(polls.max(1)) * u64::from(step.hold.max(1));
            if self.seen >= paces && !self.is_held() {
                self.enter_next(now);
            }
            self.seen += 1;
        }
    }

    /// Moves it one step, whatever its pace; not out of the step that it is held in.
    pub(crate) fn advance(&mut self, now: Duration) {
        self.settle(now);
        if !self.ended() && !self.is_held() {
            self.enter_next(now);
        }
    }

    /// Asks it to stop: TERMINATING for one step, then the end. Nothing when it has ended or is stopping already.
    pub(crate) fn cancel(&mut self, now: Duration) {
        self.settle(now);
        if self.ended() || self.cancelled {
            return;
        }
        self.cancelled = true;
        self.held = None;
        self.steps.truncate(self.index + 1);
        self.steps.push(Step::new(LifeCycle::Terminating));
        self.enter_next(now);
    }

    /// The same way so many steps ago, or at its first step.
    pub(crate) fn stepped_back(&self, steps: u32) -> Self {
        let mut earlier = self.clone();
        let steps = usize::try_from(steps).unwrap_or(usize::MAX);
        earlier.index = self.index.saturating_sub(steps);
        earlier.entered.truncate(earlier.index + 1);
        earlier
    }

    /// How long it was in each measured state so far.
    pub(crate) fn durations(&self, now: Duration) -> Durations {
        let mut durations = Durations::default();
        for (place, (step, since)) in self.steps.iter().zip(&self.entered).enumerate() {
            let until = self.entered.get(place + 1).copied().unwrap_or(now);
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
        self.seen = 0;
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
    fn every_poll_sees_the_next_step() {
        assert_eq!(
            polled(&mut timeline(Pace::PerPoll(1)), 5),
            ["QUEUED", "PENDING", "RUNNING", "END", "END"]
        );
    }

    #[test]
    fn a_slower_pace_shows_each_step_to_so_many_polls() {
        let seen = polled(&mut timeline(Pace::PerPoll(2)), 7);
        assert_eq!(seen, ["QUEUED", "QUEUED", "PENDING", "PENDING", "RUNNING", "RUNNING", "END"]);
        assert_eq!(polled(&mut timeline(Pace::PerPoll(0)), 2), ["QUEUED", "PENDING"]);
    }

    #[test]
    fn a_held_step_lasts_so_many_paces() {
        let steps = vec![Step::new(LifeCycle::Running).lasting(3)];
        let mut polls = Timeline::new(Pace::PerPoll(1), steps.clone(), at(0));
        assert_eq!(polled(&mut polls, 4), ["RUNNING", "RUNNING", "RUNNING", "END"]);

        let mut timed = Timeline::new(Pace::Elapsed(at(2)), steps, at(0));
        timed.settle(at(5));
        assert_eq!(state(&timed), "RUNNING");
        timed.settle(at(6));
        assert_eq!((state(&timed), timed.end()), ("END", Some(at(6))));
    }

    #[test]
    fn time_moves_a_run_that_nobody_polls_to_the_moments_of_its_script() {
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
    fn no_step_at_all_is_the_end_from_the_start() {
        let timeline = Timeline::new(Pace::Manual, Vec::new(), at(7));
        assert_eq!((timeline.ended(), timeline.end()), (true, Some(at(7))));
    }

    #[test]
    fn only_a_hand_moves_a_manual_run() {
        let mut timeline = timeline(Pace::Manual);
        timeline.settle(at(9999));
        assert_eq!(polled(&mut timeline, 9).last().unwrap(), "QUEUED");
        for expected in ["PENDING", "RUNNING", "END", "END"] {
            timeline.advance(at(200));
            assert_eq!(state(&timeline), expected);
        }
    }

    #[test]
    fn a_cancelled_run_terminates_for_one_step() {
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
    fn a_held_run_stays_until_it_is_released_or_cancelled() {
        let held = |pace| timeline(pace).held_in(&LifeCycle::Running);
        let mut polls = held(Pace::PerPoll(1));
        assert_eq!(polled(&mut polls, 5).last().unwrap(), "RUNNING");
        polls.advance(at(101));
        assert!(polls.is_held());
        polls.release(at(90));
        // Not before it was entered, whatever the clock said.
        assert_eq!(polls.end(), Some(at(100)));

        let mut timed = held(Pace::Elapsed(at(10)));
        assert_eq!(timed.time_to_hold(), Some(at(20)));
        timed.release(at(105));
        timed.settle(at(1000));
        assert_eq!(state(&timed), "RUNNING");
        timed.release(at(1001));
        assert_eq!(timed.end(), Some(at(1001)));

        // TERMINATING comes in the place of the step that it would have been held in.
        let mut cancelled = held(Pace::PerPoll(1));
        polled(&mut cancelled, 2);
        cancelled.cancel(at(150));
        assert_eq!(polled(&mut cancelled, 2), ["TERMINATING", "END"]);
    }

    #[test]
    fn a_run_without_the_state_is_held_in_one_more_step() {
        let mut timeline =
            Timeline::new(Pace::PerPoll(1), Vec::new(), at(0)).held_in(&LifeCycle::Running);
        assert_eq!(polled(&mut timeline, 2), ["RUNNING", "RUNNING"]);
        assert_eq!(timeline.time_to_hold(), None);
    }

    #[test]
    fn a_run_that_has_ended_is_not_cancelled() {
        let mut timeline = timeline(Pace::Elapsed(at(1)));
        timeline.cancel(at(500));
        assert!(timeline.ended() && !timeline.cancelled());
    }

    #[test]
    fn a_way_is_told_as_it_was_some_steps_ago() {
        let mut timeline = timeline(Pace::PerPoll(1));
        polled(&mut timeline, 4);
        assert!(timeline.ended());
        let earlier = timeline.stepped_back(1);
        assert_eq!((state(&earlier), earlier.end()), ("RUNNING", None));
        assert_eq!(earlier, {
            let mut same = self::timeline(Pace::PerPoll(1));
            polled(&mut same, 3);
            Timeline { seen: earlier.seen, ..same }
        });
        assert_eq!(state(&timeline.stepped_back(9)), "QUEUED");
    }

    #[test]
    fn a_state_is_reached_when_it_was_entered() {
        let mut timeline = timeline(Pace::Manual);
        assert!(!timeline.reached(&LifeCycle::Pending));
        timeline.advance(at(101));
        assert!(timeline.reached(&LifeCycle::Pending) && !timeline.reached(&LifeCycle::Running));
        timeline.cancel(at(102));
        timeline.advance(at(103));
        assert!(timeline.ended() && !timeline.reached(&LifeCycle::Running));
    }
}
