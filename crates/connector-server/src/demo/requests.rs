//! `CreateTaskRequest`s as real executors sent them, pointed at the demo's workspace.

use flyteidl2::connector::CreateTaskRequest;
use prost::Message as _;
use prost_types::{Struct, Value, value::Kind};

/// From a running Flyte 2 backend (FC §8): a new cluster, and no token.
pub(super) const FIRST_ATTEMPT: &[u8] =
    include_bytes!("../../../../fixtures/requests/40_executor_first_attempt.create.pb");
/// A new cluster, and the task's own token.
pub(super) const NEW_CLUSTER: &[u8] =
    include_bytes!("../../../../fixtures/requests/01_new_cluster.create.pb");
/// A cluster that exists, and the task's own token.
pub(super) const EXISTING_CLUSTER: &[u8] =
    include_bytes!("../../../../fixtures/requests/02_existing_cluster.create.pb");

/// The secret of a connection that the task's own token is.
const TOKEN_SECRET: &str = "databricks_token";

/// What is changed in a captured request, so that it runs here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aim<'a> {
    /// The workspace, as `host:port`.
    pub(super) workspace: &'a str,
    /// The name of the run; the workspace finds its script by it.
    pub(super) run_name: &'a str,
    /// The token that this workspace knows. It takes the place of the task's own, if the task has one.
    pub(super) token: &'a str,
}

/// Why captured bytes are of no use. A fault of this program, for the bytes are part of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error("a captured request cannot be read")]
    Decode(#[from] prost::DecodeError),
    #[error("a captured request has no `{0}`")]
    Missing(&'static str),
}

/// Reads a captured request and aims it.
pub(super) fn aimed(captured: &[u8], aim: Aim<'_>) -> Result<CreateTaskRequest, RequestError> {
    let mut request = CreateTaskRequest::decode(captured)?;
    let template = request.template.as_mut().ok_or(RequestError::Missing("template"))?;
    let custom = template.custom.as_mut().ok_or(RequestError::Missing("template.custom"))?;
    put(custom, "databricksInstance", aim.workspace);
    let conf = custom.fields.get_mut("databricksConf").and_then(|value| value.kind.as_mut());
    let Some(Kind::StructValue(conf)) = conf else {
        return Err(RequestError::Missing("databricksConf"));
    };
    put(conf, "run_name", aim.run_name);
    if let Some(own) =
        request.connection.as_mut().and_then(|connection| connection.secrets.get_mut(TOKEN_SECRET))
    {
        aim.token.clone_into(own);
    }
    Ok(request)
}

fn put(fields: &mut Struct, key: &str, text: &str) {
    fields.fields.insert(key.to_owned(), Value { kind: Some(Kind::StringValue(text.to_owned())) });
}

#[cfg(test)]
mod tests {
    use super::*;

    const AIM: Aim<'static> =
        Aim { workspace: "localhost:1234", run_name: "mine", token: "dapi-mine" };

    fn text<'a>(fields: &'a Struct, key: &str) -> &'a str {
        match fields.fields[key].kind.as_ref().unwrap() {
            Kind::StringValue(text) => text,
            other => panic!("{key} is {other:?}"),
        }
    }

    #[test]
    fn only_workspace_run_name_and_token_are_changed() {
        for captured in [FIRST_ATTEMPT, NEW_CLUSTER, EXISTING_CLUSTER] {
            let mut aimed = aimed(captured, AIM).unwrap();
            let mut original = CreateTaskRequest::decode(captured).unwrap();
            for request in [&mut aimed, &mut original] {
                let custom = request.template.as_mut().unwrap().custom.as_mut().unwrap();
                put(custom, "databricksInstance", "");
                match custom.fields.get_mut("databricksConf").unwrap().kind.as_mut().unwrap() {
                    Kind::StructValue(conf) => put(conf, "run_name", ""),
                    other => panic!("{other:?}"),
                }
                if let Some(token) =
                    request.connection.as_mut().unwrap().secrets.get_mut(TOKEN_SECRET)
                {
                    token.clear();
                }
            }
            assert_eq!(aimed, original);
        }
    }

    #[test]
    fn a_request_points_at_the_workspace_and_has_the_run_name() {
        let custom = aimed(FIRST_ATTEMPT, AIM).unwrap().template.unwrap().custom.unwrap();
        assert_eq!(text(&custom, "databricksInstance"), "localhost:1234");
        match custom.fields["databricksConf"].kind.as_ref().unwrap() {
            Kind::StructValue(conf) => assert_eq!(text(conf, "run_name"), "mine"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_token_is_replaced_and_never_added() {
        let secrets = |captured| aimed(captured, AIM).unwrap().connection.unwrap().secrets;
        assert!(secrets(FIRST_ATTEMPT).is_empty());
        for captured in [NEW_CLUSTER, EXISTING_CLUSTER] {
            assert_eq!(secrets(captured)[TOKEN_SECRET], "dapi-mine");
        }
    }

    #[test]
    fn bytes_that_are_no_request_are_refused() {
        assert!(matches!(aimed(b"\xff", AIM), Err(RequestError::Decode(_))));
        assert!(matches!(aimed(b"", AIM), Err(RequestError::Missing("template"))));
    }
}
