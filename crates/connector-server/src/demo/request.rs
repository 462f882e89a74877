//! Captured `CreateTaskRequest`s, changed to run on the fake workspace.

use flyteidl2::connector::CreateTaskRequest;
use prost::Message as _;
use prost_types::{Struct, Value, value::Kind};

/// A new cluster, and no token; from a running Flyte 2 backend (flyte-contract.md#observed-backend).
pub(super) const FIRST_ATTEMPT: &[u8] =
    include_bytes!("requests/40_executor_first_attempt.create.pb");
/// A new cluster, and the task's own token.
pub(super) const NEW_CLUSTER: &[u8] = include_bytes!("requests/01_new_cluster.create.pb");
/// An existing cluster, and the task's own token.
pub(super) const EXISTING_CLUSTER: &[u8] = include_bytes!("requests/02_existing_cluster.create.pb");

/// The key of the task's own token in the connection's secrets.
const TOKEN_SECRET: &str = "databricks_token";

/// Values that replace those of a captured request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// The workspace, as `host:port`.
    pub(super) workspace: &'a str,
    pub(super) run_name: &'a str,
    /// Replaces the task's own token, if it has one.
    pub(super) token: &'a str,
}

/// A captured request is unusable.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error("cannot decode a captured request")]
    Decode(#[from] prost::DecodeError),
    #[error("a captured request has no `{0}`")]
    Missing(&'static str),
}

/// Decodes a captured request and sets workspace, run name and token.
pub(super) fn retarget(
    captured: &[u8],
    target: Target<'_>,
) -> Result<CreateTaskRequest, RequestError> {
    let mut request = CreateTaskRequest::decode(captured)?;
    let template = request.template.as_mut().ok_or(RequestError::Missing("template"))?;
    let custom = template.custom.as_mut().ok_or(RequestError::Missing("template.custom"))?;
    set(custom, "databricksInstance", target.workspace);
    let conf = custom.fields.get_mut("databricksConf").and_then(|value| value.kind.as_mut());
    let Some(Kind::StructValue(conf)) = conf else {
        return Err(RequestError::Missing("databricksConf"));
    };
    set(conf, "run_name", target.run_name);
    if let Some(token) =
        request.connection.as_mut().and_then(|connection| connection.secrets.get_mut(TOKEN_SECRET))
    {
        target.token.clone_into(token);
    }
    Ok(request)
}

fn set(fields: &mut Struct, key: &str, text: &str) {
    fields.fields.insert(key.to_owned(), Value { kind: Some(Kind::StringValue(text.to_owned())) });
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target<'static> =
        Target { workspace: "localhost:1234", run_name: "mine", token: "dapi-mine" };

    /// Returns workspace, run name and token, and clears them in the request.
    fn take(request: &mut CreateTaskRequest) -> (Option<Value>, Option<Value>, Option<String>) {
        let custom = request.template.as_mut().unwrap().custom.as_mut().unwrap();
        let workspace = custom.fields.remove("databricksInstance");
        let Some(Kind::StructValue(conf)) =
            custom.fields.get_mut("databricksConf").unwrap().kind.as_mut()
        else {
            panic!("databricksConf is not an object");
        };
        let run_name = conf.fields.remove("run_name");
        let token = request.connection.as_mut().unwrap().secrets.get_mut(TOKEN_SECRET);
        (workspace, run_name, token.map(std::mem::take))
    }

    #[test]
    fn only_workspace_run_name_and_token_are_changed_and_no_token_is_added() {
        let text = |text: &str| Some(Value { kind: Some(Kind::StringValue(text.to_owned())) });
        for (captured, has_token) in
            [(FIRST_ATTEMPT, false), (NEW_CLUSTER, true), (EXISTING_CLUSTER, true)]
        {
            let mut request = retarget(captured, TARGET).unwrap();
            let mut original = CreateTaskRequest::decode(captured).unwrap();
            let token = has_token.then(|| "dapi-mine".to_owned());
            assert_eq!(take(&mut request), (text("localhost:1234"), text("mine"), token));
            take(&mut original);
            assert_eq!(request, original);
        }
    }

    #[test]
    fn invalid_bytes_are_rejected() {
        assert!(matches!(retarget(b"\xff", TARGET), Err(RequestError::Decode(_))));
        assert!(matches!(retarget(b"", TARGET), Err(RequestError::Missing("template"))));
    }
}
