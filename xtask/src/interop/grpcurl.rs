//! grpcurl knows nothing of our protocol: what it shows, it had from reflection.

use super::tally::Tally;
use std::path::Path;
use xshell::{Shell, cmd};

/// Asks the server at `address`, and counts what the answers show.
pub(super) fn run(sh: &Shell, grpcurl: &Path, address: &str) -> Tally {
    let mut tally = Tally::default();
    let mut ask = |claim: &str, args: &[&str], wanted: &[&str]| {
        let answer = cmd!(sh, "{grpcurl} -plaintext -max-time 10 {args...}").quiet().read();
        let fault = match &answer {
            Ok(text) => missing(text, wanted),
            Err(error) => Some(error.to_string()),
        };
        tally.claim(claim, fault.as_deref());
    };
    ask(
        "reflection lists both services, and health",
        &[address, "list"],
        &[
            "flyteidl2.connector.AsyncConnectorService",
            "flyteidl2.connector.ConnectorMetadataService",
            "grpc.health.v1.Health",
        ],
    );
    ask(
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
    ask(
        "health answers SERVING",
        &[address, "grpc.health.v1.Health/Check"],
        &["\"status\": \"SERVING\""],
    );
    ask(
        "ListConnectors, called by reflection, tells of the Databricks connector",
        &[address, "flyteidl2.connector.ConnectorMetadataService/ListConnectors"],
        &["\"name\": \"Databricks Connector\"", "\"name\": \"databricks\""],
    );
    tally
}

/// What the answer lacks, if anything.
fn missing(answer: &str, wanted: &[&str]) -> Option<String> {
    let lacking = wanted.iter().find(|part| !answer.contains(**part))?;
    Some(format!("no `{lacking}` in:\n{answer}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_lacks_a_part_is_told_apart() {
        assert_eq!(missing("a\nb", &["a", "b"]), None);
        assert_eq!(missing("a", &["a", "b"]).as_deref(), Some("no `b` in:\na"));
    }
}
