//! Hints for failed runs, by termination code. Pure.

use databricks_client::jobs::TerminationCode;

use crate::error;

/// Returns the hint for a run or task with this termination code, which older workspaces omit, and this message of
/// Databricks.
pub(crate) fn of_termination(
    code: Option<&TerminationCode>,
    message: &str,
) -> Option<&'static str> {
    // The message of another code can quote the user's own error.
    let may_refuse_cluster = matches!(
        code,
        None | Some(
            TerminationCode::InvalidClusterRequest
                | TerminationCode::InvalidRunConfiguration
                | TerminationCode::ClusterError
                | TerminationCode::FeatureDisabled
        )
    );
    let named = may_refuse_cluster.then(|| error::hint_of_job(message)).flatten();
    named.or_else(|| of_code(code?))
}

fn of_code(code: &TerminationCode) -> Option<&'static str> {
    Some(match code {
        TerminationCode::WorkspaceRunLimitExceeded
        | TerminationCode::MaxConcurrentRunsExceeded
        | TerminationCode::MaxJobQueueSizeExceeded => {
            "the workspace or the job has reached its limit of runs: add `queue: {enabled: true}` to `databricks_conf`, or \
             let Flyte retry"
        }
        TerminationCode::ClusterRequestLimitExceeded => {
            "too many cluster requests: let Flyte retry, or use an instance pool"
        }
        TerminationCode::MaxSparkContextsExceeded => {
            "the cluster has too many Spark contexts: use another or a new cluster"
        }
        TerminationCode::UnauthorizedError => {
            "grant the principal that runs the job the permission that the message names"
        }
        TerminationCode::LibraryInstallationError => {
            "check that every entry of `libraries` exists, and that the cluster can reach its repository"
        }
        TerminationCode::RepositoryCheckoutFailed => {
            "check that Databricks can reach the Git repository; `connector-server --entrypoint workspace` needs none"
        }
        TerminationCode::CloudFailure => {
            "the cloud provider lost or refused machines, often spot instances: let Flyte retry"
        }
        TerminationCode::DriverError => {
            "the driver was lost, often because it ran out of memory: use a larger driver, or collect less data on it"
        }
        TerminationCode::ClusterError => {
            "the cluster failed: see its event log, linked from the run page"
        }
        TerminationCode::InvalidClusterRequest => {
            "correct `new_cluster` in `databricks_conf` as the message says"
        }
        TerminationCode::InvalidRunConfiguration => "correct `databricks_conf` as the message says",
        TerminationCode::ResourceNotFound => {
            "a resource of the run does not exist or is not visible: check its name and permissions"
        }
        TerminationCode::FeatureDisabled => "ask a workspace admin to enable the feature",
        TerminationCode::StorageAccessError => {
            "check that the compute can access the workspace's storage, and let Flyte retry"
        }
        TerminationCode::BudgetPolicyLimitExceeded => {
            "the budget is exhausted: ask the owner of the budget policy"
        }
        TerminationCode::Canceled => {
            "the run may have exceeded its timeout: raise `timeout=` of the task, or `timeout_seconds` in `databricks_conf`, or reduce the work"
        }
        _ => return None,
    })
}

/// Returns the hint for a cluster with this termination code, one of about 200 (databricks-api.md#clusters), and this
/// description of it.
pub(crate) fn of_cluster(code: &str, description: &str) -> Option<&'static str> {
    of_cluster_code(code, error::hint_of_job(description))
}

fn of_cluster_code(code: &str, named: Option<&'static str>) -> Option<&'static str> {
    let has = |parts: &[&str]| parts.iter().any(|part| code.contains(part));
    // Specific codes first: the general patterns also match some of them.
    Some(match code {
        "DRIVER_OUT_OF_MEMORY" => {
            "the driver ran out of memory: use a larger `driver_node_type_id`, or collect less data on it"
        }
        "DRIVER_OUT_OF_DISK" => "the driver's disk is full: use a larger disk, or write less to it",
        "SPOT_INSTANCE_TERMINATION" | "CLOUD_PROVIDER_SHUTDOWN" | "DRIVER_EVICTION" => {
            "the cloud provider reclaimed machines, often spot instances: let Flyte retry, or use an on-demand driver (`first_on_demand`)"
        }
        "USER_REQUEST" | "USER_INITIATED_VM_TERMINATION" => "a user terminated the cluster",
        "INIT_SCRIPT_FAILURE" | "GLOBAL_INIT_SCRIPT_FAILURE" => {
            "an init script failed: see its log in the destination of `cluster_log_conf`"
        }
        _ if code.starts_with("BUDGET_POLICY") || code.starts_with("USAGE_POLICY") => {
            "the budget policy does not allow it: ask its owner"
        }
        _ if code.starts_with("DRIVER_") => {
            "the driver was lost, often because it ran out of memory: use a larger driver, or collect less data on it"
        }
        _ if has(&["THROTTL", "RATE_LIMITED", "REQUEST_LIMIT", "RATE_QUOTA"]) => {
            "the cloud provider throttled requests: let Flyte retry"
        }
        _ if has(&["QUOTA", "SPOT_INSTANCE_COUNT", "MAX_CAPACITY"]) => {
            "a cloud quota is exhausted: raise it, or use fewer or other machines"
        }
        _ if has(&[
            "STOCKOUT",
            "INSUFFICIENT_INSTANCE",
            "INSUFFICIENT_CAPACITY",
            "CAPACITY_FAILURE",
        ]) =>
        {
            "the cloud provider has no capacity for this node type: let Flyte retry, or use another node type or zone"
        }
        _ if has(&["EXHAUST", "INSUFFICIENT_FREE_ADDRESSES"]) => {
            "the subnet has no free addresses: enlarge it, or use fewer machines"
        }
        _ if has(&["DOCKER", "IMAGE_PULL", "CONTAINER_LAUNCH"]) => {
            "the container image cannot be used: check `docker_image`, the registry's credentials and the image size"
        }
        _ if named.is_some() => return named,
        _ if has(&["PERMISSION", "DENIED", "FORBIDDEN", "AUTHORIZATION", "KMS", "SECRET_"]) => {
            "the cloud account denied a permission that the cluster needs: see the message"
        }
        _ if has(&["MISCONFIG", "INVALID_", "NOT_FOUND", "UNSUPPORTED", "CONFIGURATION"]) => {
            "correct the configuration of the cluster or the network as the message says"
        }
        _ if has(&["TIMEOUT", "UNREACHABLE", "COMMUNICATION_LOST"]) => {
            "the cluster was not ready in time, or not reachable: let Flyte retry"
        }
        _ => return None,
    })
}

/// Returns the hint for an error of the user's code.
pub(crate) fn of_users_error(text: &str) -> Option<&'static str> {
    let lacks = |module: &str| text.contains(&format!("No module named '{module}"));
    (lacks("flyteplugins") || lacks("flyte'")).then_some(
        "the compute lacks packages of Flyte: add `flyteplugins-databricks` to the image or to `libraries`; on serverless compute \
         add `flyte[connector]`, `aiohttp` and `nest-asyncio` to the environment, and the connector's script adds the plugin",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_codes_have_matching_hints() {
        for (code, words) in [
            ("DRIVER_OUT_OF_MEMORY", "out of memory"),
            ("DRIVER_UNREACHABLE", "driver was lost"),
            ("SPOT_INSTANCE_TERMINATION", "spot"),
            ("AWS_MAX_SPOT_INSTANCE_COUNT_EXCEEDED_FAILURE", "quota"),
            ("AZURE_QUOTA_EXCEEDED_EXCEPTION", "quota"),
            ("GCP_API_RATE_QUOTA_EXCEEDED", "throttled"),
            ("AZURE_RESOURCE_MANAGER_THROTTLING", "throttled"),
            ("CLOUD_PROVIDER_RESOURCE_STOCKOUT", "capacity"),
            ("AWS_INSUFFICIENT_INSTANCE_CAPACITY_FAILURE", "capacity"),
            ("AWS_INSUFFICIENT_FREE_ADDRESSES_IN_SUBNET_FAILURE", "subnet"),
            ("GCP_IP_SPACE_EXHAUSTED", "subnet"),
            ("DOCKER_IMAGE_PULL_FAILURE", "docker_image"),
            ("IMAGE_PULL_PERMISSION_DENIED", "docker_image"),
            ("GCP_KMS_KEY_PERMISSION_DENIED", "denied"),
            ("BOOTSTRAP_TIMEOUT_DUE_TO_MISCONFIG", "configuration"),
            ("BOOTSTRAP_TIMEOUT", "in time"),
            ("INIT_SCRIPT_FAILURE", "init script"),
            ("BUDGET_POLICY_LIMIT_ENFORCEMENT_ACTIVATED", "policy"),
            ("USER_REQUEST", "a user"),
        ] {
            let hint = of_cluster(code, "").unwrap_or_default();
            assert!(hint.contains(words), "{code}: {hint}");
        }
        assert_eq!(of_cluster("UNKNOWN_FUTURE_CODE", ""), None);
    }

    #[test]
    fn what_the_connector_added_is_named_by_the_hint() {
        let invalid = TerminationCode::InvalidClusterRequest;
        for (message, words) in [
            ("Databricks Container Services is not enabled", "`docker_image`"),
            ("Custom containers is turned off for your deployment", "`docker_image`"),
            ("Validation failed for custom_tags.flyte_attempt", "--no-cluster-tags"),
            ("Validation failed for node_type_id", "correct `new_cluster`"),
        ] {
            let hint = of_termination(Some(&invalid), message).unwrap();
            assert!(hint.contains(words), "{message}: {hint}");
        }
        let hint = of_cluster("INVALID_ARGUMENT", "docker image is not supported").unwrap();
        assert!(hint.contains("docker_image"), "{hint}");
        // The user's own error may be about anything.
        let user_code = TerminationCode::RunExecutionError;
        assert_eq!(of_termination(Some(&user_code), "cannot connect to docker"), None);
    }
}
