//! An abnormal termination of a cluster, as part of a message. Pure.

use databricks_client::clusters::{Cluster, ClusterState};

/// Termination codes that do not concern the run.
const NORMAL_TERMINATIONS: [&str; 3] = ["JOB_FINISHED", "INACTIVITY", "UNKNOWN"];

/// Parameters of a termination that are included, and the characters of each.
const MAX_PARAMETERS: usize = 5;
const MAX_PARAMETER_CHARACTERS: usize = 200;

/// Returns code and description of the termination. Returns `None` if it was normal or the cluster is active.
pub(super) fn describe(cluster: &Cluster) -> Option<(&str, String)> {
    let terminated = [ClusterState::Terminated, ClusterState::Terminating, ClusterState::Error];
    let reason = cluster.termination_reason.as_ref()?;
    let code = reason.code.as_deref().map(str::trim).filter(|code| !code.is_empty())?;
    if !cluster.state.as_ref().is_some_and(|state| terminated.contains(state))
        || NORMAL_TERMINATIONS.contains(&code)
    {
        return None;
    }
    let parameters: Vec<String> = reason
        .parameters
        .iter()
        .filter(|(_, value)| !value.trim().is_empty())
        .take(MAX_PARAMETERS)
        .map(|(name, value)| {
            let value: String = value.trim().chars().take(MAX_PARAMETER_CHARACTERS).collect();
            format!("{name}: {value}")
        })
        .collect();
    let parameters = match parameters.as_slice() {
        [] => String::new(),
        parameters => format!(" ({})", parameters.join("; ")),
    };
    Some((code, format!("its cluster terminated with {code}{parameters}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_bounded() {
        let parameters: serde_json::Map<String, serde_json::Value> =
            (0..50).map(|n| (format!("fact {n:02}"), json!("x".repeat(10_000)))).collect();
        let cluster = json!({"cluster_id": "c", "state": "ERROR",
            "termination_reason": {"code": "NOVEL", "parameters": parameters}});
        let cluster: Cluster = serde_json::from_value(cluster).unwrap();
        let (code, text) = describe(&cluster).unwrap();
        assert_eq!(code, "NOVEL");
        assert!(text.len() < 1_200 && text.contains("fact 04") && !text.contains("fact 05"));
    }
}
