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
        TerminationCode::InvalidRunConfiguration => "correct `databricks_conf` as the message says",
        TerminationCode::ResourceNotFound => {
            "something that the run needs is not there, or may not be seen: correct its name or its permissions"
        }
        TerminationCode::FeatureDisabled => {
            "ask an administrator of the workspace to switch the feature on"
        }
        TerminationCode::StorageAccessError => {
            "check that the compute may read the workspace's storage, and let Flyte retry"
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

/// What to do next about a cluster that ended with this code, one of about two hundred words (DA §1.10).
pub(crate) fn of_cluster(code: &str) -> Option<&'static str> {
    let has = |parts: &[&str]| parts.iter().any(|part| code.contains(part));
    // From the particular to the general: words are shared between causes.
    Some(match code {
        "DRIVER_OUT_OF_MEMORY" => {
            "the driver ran out of memory: take a larger `driver_node_type_id`, or collect less data on it"
        }
        "DRIVER_OUT_OF_DISK" => "the driver's disk is full: take a larger one, or write less to it",
        "SPOT_INSTANCE_TERMINATION" | "CLOUD_PROVIDER_SHUTDOWN" | "DRIVER_EVICTION" => {
            "the cloud took its machines back: let Flyte retry, or keep the driver off spot machines \
             (`first_on_demand`)"
        }
        "USER_REQUEST" | "USER_INITIATED_VM_TERMINATION" => "somebody stopped the cluster",
        "INIT_SCRIPT_FAILURE" | "GLOBAL_INIT_SCRIPT_FAILURE" => {
            "an init script failed: `cluster_log_conf` says where its log goes"
        }
        _ if code.starts_with("BUDGET_POLICY") || code.starts_with("USAGE_POLICY") => {
            "the policy that pays does not allow it: ask whoever keeps it"
        }
        _ if code.starts_with("DRIVER_") => {
            "the driver was lost, often for lack of memory: try a larger driver or less data on it"
        }
        _ if has(&["THROTTL", "RATE_LIMITED", "REQUEST_LIMIT", "RATE_QUOTA"]) => {
            "too much is being asked of the cloud at once: let Flyte retry"
        }
        _ if has(&["QUOTA", "SPOT_INSTANCE_COUNT", "MAX_CAPACITY"]) => {
            "a quota is used up: raise it, or ask for fewer or other machines"
        }
        _ if has(&[
            "STOCKOUT",
            "INSUFFICIENT_INSTANCE",
            "INSUFFICIENT_CAPACITY",
            "CAPACITY_FAILURE",
        ]) =>
        {
            "the cloud has no such machines now: let Flyte retry, or take another node type or zone"
        }
        _ if has(&["EXHAUST", "INSUFFICIENT_FREE_ADDRESSES"]) => {
            "the network has no free addresses: enlarge the subnet, or ask for fewer machines"
        }
        _ if has(&["DOCKER", "IMAGE_PULL", "CONTAINER_LAUNCH"]) => {
            "the image cannot be used: check `docker_image`, its registry's credentials and its size"
        }
        _ if has(&["PERMISSION", "DENIED", "FORBIDDEN", "AUTHORIZATION", "KMS", "SECRET_"]) => {
            "the cloud account refuses something that the cluster needs: the message names it"
        }
        _ if has(&["MISCONFIG", "INVALID_", "NOT_FOUND", "UNSUPPORTED", "CONFIGURATION"]) => {
            "correct the cluster's or the network's configuration as the message says"
        }
        _ if has(&["TIMEOUT", "UNREACHABLE", "COMMUNICATION_LOST"]) => {
            "the cluster was not ready in time or not reached: let Flyte retry"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_clusters_lead_to_what_can_be_done() {
        for (code, words) in [
            ("DRIVER_OUT_OF_MEMORY", "out of memory"),
            ("DRIVER_UNREACHABLE", "driver was lost"),
            ("SPOT_INSTANCE_TERMINATION", "spot"),
            ("AWS_MAX_SPOT_INSTANCE_COUNT_EXCEEDED_FAILURE", "quota"),
            ("AZURE_QUOTA_EXCEEDED_EXCEPTION", "quota"),
            ("GCP_API_RATE_QUOTA_EXCEEDED", "at once"),
            ("AZURE_RESOURCE_MANAGER_THROTTLING", "at once"),
            ("CLOUD_PROVIDER_RESOURCE_STOCKOUT", "no such machines"),
            ("AWS_INSUFFICIENT_INSTANCE_CAPACITY_FAILURE", "no such machines"),
            ("AWS_INSUFFICIENT_FREE_ADDRESSES_IN_SUBNET_FAILURE", "subnet"),
            ("GCP_IP_SPACE_EXHAUSTED", "subnet"),
            ("DOCKER_IMAGE_PULL_FAILURE", "docker_image"),
            ("IMAGE_PULL_PERMISSION_DENIED", "docker_image"),
            ("GCP_KMS_KEY_PERMISSION_DENIED", "refuses"),
            ("BOOTSTRAP_TIMEOUT_DUE_TO_MISCONFIG", "configuration"),
            ("BOOTSTRAP_TIMEOUT", "in time"),
            ("INIT_SCRIPT_FAILURE", "init script"),
            ("BUDGET_POLICY_LIMIT_ENFORCEMENT_ACTIVATED", "policy"),
            ("USER_REQUEST", "somebody"),
        ] {
            let hint = of_cluster(code).unwrap_or_default();
            assert!(hint.contains(words), "{code}: {hint}");
        }
        assert_eq!(of_cluster("A_WORD_OF_TOMORROW"), None);
    }
}
