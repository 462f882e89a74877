//! The Jobs API: what is sent and what comes back.
//!
//! Requests are the user's own JSON. Answers are read leniently: unknown fields are ignored, unknown enum values are
//! kept, anything may be missing (DA §1.14).

mod list;
mod output;
mod run;
mod run_now;
mod sql_output;
mod state;
mod submit;

pub use list::{ListRuns, RunsPage};
pub use output::{AlertOutput, NotebookOutput, RunJobOutput, RunOutput};
pub use run::{ClusterInstance, Run, RunTask, TaskDependency};
pub use run_now::RunNow;
pub use sql_output::{
    SqlAlertOutput, SqlColumn, SqlDashboardOutput, SqlFileOutput, SqlOutput, SqlQueryOutput,
    SqlQueryResult, SqlRow, SqlValue, SqlWidgetOutput,
};
pub use state::{
    LifeCycleState, LifecycleStateV2, QueueCode, QueueDetails, ResultState, RunState, RunStatus,
    TerminationCode, TerminationDetails, TerminationType,
};
pub use submit::SubmitRun;
pub(crate) use submit::Submitted;

/// A value that may be null, which means the same as absent.
pub(crate) fn null_as_default<
    'de,
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
>(
    deserializer: D,
) -> Result<T, D::Error> {
    <Option<T> as serde::Deserialize>::deserialize(deserializer).map(Option::unwrap_or_default)
}
