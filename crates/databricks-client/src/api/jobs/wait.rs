//! Waits for the end of a run.

use std::time::Duration;

use tokio::time::Instant;

use super::{MissingTasks, ReportedState, Run};
use crate::{Client, Error, ErrorKind, RunId};

/// The time that is kept for the last read before the deadline.
const LAST_READ: Duration = Duration::from_secs(1);

/// How long to wait for the end of a run, and how often to read its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct WaitForEnd {
    timeout: Duration,
    poll_interval: Duration,
}

impl WaitForEnd {
    /// Waits at most this long, and reads the state every 10 seconds.
    pub fn within(timeout: Duration) -> Self {
        Self { timeout, poll_interval: Duration::from_secs(10) }
    }

    /// Sets the time between two reads.
    pub fn poll_interval(mut self, poll_interval: Duration) -> Self {
        self.poll_interval = poll_interval;
        self
    }

    /// Returns the time until the next read. `None` if there is no time for another one.
    fn next_delay(self, left: Duration) -> Option<Duration> {
        let available = left.saturating_sub(LAST_READ);
        (!available.is_zero()).then_some(available.min(self.poll_interval))
    }
}

impl Client {
    /// Waits until a run has ended, and returns it with all its tasks. [`Run::outcome`] is how it ended.
    ///
    /// The wait ends at its timeout or at the client's own deadline, whichever is earlier; the last read is one second
    /// before. A transient failure of a read does not end the wait. Dropping the future does not cancel the run.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. `Timeout` if the run has not ended in time; its source is the failure of the last read, if that
    /// failed. `RunNotFound` if the workspace reports that the run does not exist.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use databricks_client::{Client, Error, RunId, jobs::{Outcome, WaitForEnd}};
    ///
    /// async fn succeeds(client: &Client, run_id: RunId) -> Result<bool, Error> {
    ///     let wait = WaitForEnd::within(Duration::from_hours(2)).poll_interval(Duration::from_secs(30));
    ///     let run = client.wait_for_end(run_id, wait).await?;
    ///     Ok(run.outcome() == Some(Outcome::Succeeded))
    /// }
    /// ```
    pub async fn wait_for_end(&self, run_id: RunId, wait: WaitForEnd) -> Result<Run, Error> {
        let client = self.clone().with_timeout(wait.timeout);
        let call_timeout = self.settings().call_timeout;
        poll_until_ended(run_id, wait, client.deadline(), || {
            let client = client.clone().with_timeout(call_timeout);
            async move { client.read_ended(run_id).await }
        })
        .await
    }

    /// Reads the first page of a run, and the other pages only once the run has ended.
    async fn read_ended(&self, run_id: RunId) -> Result<Ended, Error> {
        let mut run = self.get_run_state(run_id).await?;
        if !run.has_ended() {
            let state = ReportedState::from(&run).state().map(str::to_owned);
            return Ok(Ended::NotYet(state));
        }
        self.complete_run(run_id, &mut run).await;
        match run.missing_tasks {
            Some(MissingTasks::Unreadable { error, is_transient: true }) => {
                Err(Error::new(ErrorKind::Unavailable, error))
            }
            _ => Ok(Ended::Yes(Box::new(run))),
        }
    }
}

/// Whether a run has ended.
enum Ended {
    Yes(Box<Run>),
    /// The state of the run, as Databricks spells it.
    NotYet(Option<String>),
}

async fn poll_until_ended<F: Future<Output = Result<Ended, Error>> + Send>(
    run_id: RunId,
    wait: WaitForEnd,
    deadline: Instant,
    mut read: impl FnMut() -> F + Send,
) -> Result<Run, Error> {
    let started = Instant::now();
    let mut state = None;
    loop {
        let failure = match read().await {
            Ok(Ended::Yes(run)) => return Ok(*run),
            Ok(Ended::NotYet(reported)) => {
                state = reported;
                None
            }
            Err(error) if error.is_retryable() => Some(error),
            Err(error) => return Err(error),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let Some(delay) = wait.next_delay(left) else {
            let elapsed = started.elapsed().as_secs_f64();
            let state = state.as_deref().unwrap_or("unknown");
            let text =
                format!("run {run_id} has not ended after {elapsed:.1} s; its state is {state}");
            let error = Error::new(ErrorKind::Timeout, text);
            return Err(match failure {
                Some(failure) => error.with_source(failure),
                None => error,
            });
        };
        tokio::time::sleep(delay).await;
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    type Read = fn() -> Result<Ended, Error>;

    /// Waits for at most 60 seconds, and returns the result and the seconds at which the state was read. Later reads
    /// return the last element.
    async fn poll(reads: Vec<Read>) -> (Result<Run, Error>, Vec<u64>) {
        let (start, mut times) = (Instant::now(), Vec::new());
        let wait =
            WaitForEnd::within(Duration::from_mins(1)).poll_interval(Duration::from_secs(20));
        let result =
            poll_until_ended(RunId::try_from(7).unwrap(), wait, start + wait.timeout, || {
                let read = reads[times.len().min(reads.len() - 1)];
                times.push(start.elapsed().as_secs());
                async move { read() }
            })
            .await;
        (result, times)
    }

    const RUNNING: Read = || Ok(Ended::NotYet(Some("RUNNING".to_owned())));
    const ENDED: Read = || Ok(Ended::Yes(Box::default()));
    const UNAVAILABLE: Read = || Err(Error::new(ErrorKind::Unavailable, "503"));
    const GONE: Read = || Err(Error::new(ErrorKind::RunNotFound, "gone"));

    #[tokio::test(start_paused = true)]
    async fn state_is_read_at_each_interval_until_the_run_has_ended() {
        let (run, times) = poll(vec![RUNNING, RUNNING, ENDED]).await;
        assert!(run.is_ok());
        assert_eq!(times, [0, 20, 40]);
    }

    #[tokio::test(start_paused = true)]
    async fn last_read_is_one_second_before_the_deadline() {
        let (run, times) = poll(vec![RUNNING]).await;
        let error = run.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(
            error.to_string().contains("run 7 has not ended after 59.0 s; its state is RUNNING")
        );
        assert_eq!(times, [0, 20, 40, 59]);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_permanent_failure_of_a_read_ends_the_wait() {
        let (run, times) = poll(vec![UNAVAILABLE, RUNNING, UNAVAILABLE, ENDED]).await;
        assert!(run.is_ok());
        assert_eq!(times.len(), 4);
        let (run, _) = poll(vec![UNAVAILABLE]).await;
        let error = run.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.source().unwrap().to_string().contains("503"));
        let (run, times) = poll(vec![RUNNING, GONE]).await;
        assert_eq!((run.unwrap_err().kind(), times.len()), (ErrorKind::RunNotFound, 2));
    }
}
