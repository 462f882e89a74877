//! Checks gRPC reflection with grpcurl, which has no other knowledge of the protocol.

use super::tally::Tally;
use std::path::Path;
use xshell::{Shell, cmd};

/// Calls the server at `address` and checks its responses.
pub(super) fn run(sh: &Shell, grpcurl: &Path, address: &str) -> Tally {
    let mut tally = Tally::default();
    let mut check = |claim: &str, args: &[&str], expected: &[&str]| {
        let response = cmd!(sh, "{grpcurl} -plaintext -max-time 10 {args...}").quiet().read();
        let failure = match &response {
            Ok(text) => missing(text, expected),
            Err(error) => Some(error.to_string()),
        };
        tally.record(claim, failure.as_deref());
    };
    check(
        "reflection lists both services and health",
        &[address, "list"],
        &[
            "flyteidl2.connector.AsyncConnectorService",
            "flyteidl2.connector.ConnectorMetadataService",
            "grpc.health.v1.Health",
        ],
    );
    check(
        "reflection describes CreateTaskRequest",
        &[address, "describe", "flyteidl2.connector.CreateTaskRequest"],
        &[
            "message CreateTaskRequest {",
            ".flyteidl2.task.Inputs inputs = 1;",
            ".flyteidl2.core.TaskTemplate template = 2;",
            "string output_prefix = 3;",
            ".flyteidl2.connector.TaskExecutionMetadata task_execution_metadata = 4;",
            ".flyteidl2.core.Connection connection = 5;",
        ],
    );
    check(
        "health answers SERVING",
        &[address, "grpc.health.v1.Health/Check"],
        &["\"status\": \"SERVING\""],
    );
    check(
        "ListConnectors, called through reflection, returns the Databricks connector",
        &[address, "flyteidl2.connector.ConnectorMetadataService/ListConnectors"],
        &["\"name\": \"Databricks Connector\"", "\"name\": \"databricks\""],
    );
    tally
}

/// Returns a message about the first expected part that `response` lacks.
fn missing(response: &str, expected: &[&str]) -> Option<String> {
    let lacking = expected.iter().find(|part| !response.contains(**part))?;
    Some(format!("no `{lacking}` in:\n{response}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_part_is_reported() {
        assert_eq!(missing("a\nb", &["a", "b"]), None);
        assert_eq!(missing("a", &["a", "b"]).as_deref(), Some("no `b` in:\na"));
    }
}
