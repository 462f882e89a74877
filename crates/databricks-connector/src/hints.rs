//! What to do about a run that failed, where it is known. Pure.

use databricks_client::jobs::TerminationCode;

/// What to do next about a run or task that ended with this code.
pub(crate) fn of_code(code: &TerminationCode) -> Option<&'static str> {
    Some(match code {
        TerminationCode::WorkspaceRunLimitExceeded
        | TerminationCode::MaxConcurrentRunsExceeded
        | TerminationCode::MaxJobQueueSizeExceeded => {
            "the workspace or the job is at its limit of runs: add `queue: {enabled: true}` to `databricks_conf`, or \
             let Flyte retry"
        }
        TerminationCode::ClusterRequestLimitExceeded => {
            "too many clusters are being started: let Flyte retry, or use an instance pool"
        }
        TerminationCode::MaxSparkContextsExceeded => {
            "the cluster has too many contexts: use another or a new cluster"
        }
        TerminationCode::UnauthorizedError => {
            "give the principal that runs the job permission for what the message names"
        }
        TerminationCode::LibraryInstallationError => {
            "check that every entry of `libraries` exists and that the cluster reaches its repository"
        }
        TerminationCode::RepositoryCheckoutFailed => {
            "check that Databricks reaches the repository; `connector-server --entrypoint workspace` needs none"
        }
        TerminationCode::CloudFailure => {
            "the cloud lost or refused machines, spot ones above all: let Flyte retry"
        }
        TerminationCode::DriverError => {
            "the driver was lost, often for lack of memory: try a larger driver or less data on it"
        }
        TerminationCode::ClusterError => {
            "the cluster failed: its event log on the run's page says why"
        }
        TerminationCode::InvalidClusterRequest => {
            "correct `new_cluster` in `databricks_conf` as the message says"
        }
        TerminationCode::BudgetPolicyLimitExceeded => {
            "the budget is used up: ask whoever keeps the budget policy"
        }
        TerminationCode::Canceled => {
            "the run may have passed its time limit: raise `timeout_seconds`, or do less"
        }
        _ => return None,
    })
}
