//! The calls that the workspace answers, told apart by method and path.

use crate::statements;
use axum::http::Method;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One call of the workspace API (DA §1.0), in any of its versions. As JSON `"submit_run"` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Endpoint {
    /// `POST jobs/runs/submit`.
    SubmitRun,
    /// `POST jobs/run-now`.
    RunNow,
    /// `GET jobs/runs/get`.
    GetRun,
    /// `GET jobs/runs/get-output`.
    GetRunOutput,
    /// `POST jobs/runs/cancel`.
    CancelRun,
    /// `GET jobs/runs/list`.
    ListRuns,
    /// `POST jobs/runs/delete`.
    DeleteRun,
    /// `GET preview/scim/v2/Me`, version 2.0 alone (DA §10.1).
    Me,
    /// `GET workspace/get-status`, version 2.0 alone (DA §10.1).
    WorkspaceGetStatus,
    /// `POST workspace/mkdirs`, likewise.
    WorkspaceMkdirs,
    /// `POST workspace/import`, likewise.
    WorkspaceImport,
    /// `GET workspace/export`, likewise.
    WorkspaceExport,
    /// `POST workspace/delete`, likewise.
    WorkspaceDelete,
    /// `GET clusters/get`, not in version 2.2 (DA §1.10).
    GetCluster,
    /// `POST clusters/events`, likewise.
    ListClusterEvents,
    /// `GET dbfs/list`, version 2.0 alone (DA §1.11).
    DbfsList,
    /// `GET dbfs/get-status`, likewise.
    DbfsGetStatus,
    /// `GET dbfs/read`, likewise.
    DbfsRead,
    /// `GET fs/directories/Volumes/…`, version 2.0 alone (DA §1.12).
    ListVolume,
    /// `GET fs/files/Volumes/…`, likewise.
    ReadVolumeFile,
    /// `POST sql/statements`, version 2.0 alone (DA §1.13).
    ExecuteStatement,
    /// `GET sql/statements/{id}`, likewise.
    GetStatement,
    /// `POST sql/statements/{id}/cancel`, likewise.
    CancelStatement,
    /// `GET sql/statements/{id}/result/chunks/{index}`, likewise.
    GetStatementChunk,
    /// What an external link of a result leads to. It needs no bearer token, and refuses one.
    FollowExternalLink,
    /// Whatever mints tokens or tells where (DA §4.5), with the stand-ins for the clouds. Such calls are not recorded.
    MintToken,
}

/// A version of the API, as in `/api/2.1/…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ApiVersion {
    /// One task a run, its keys at the top of the body.
    V2_0,
    /// `tasks[]`, or the keys of one task at the top (DA §10.3).
    V2_1,
    /// `tasks[]`, and answers in pages of 100.
    V2_2,
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V2_0 => "2.0",
            Self::V2_1 => "2.1",
            Self::V2_2 => "2.2",
        })
    }
}

impl Endpoint {
    /// The version and the call that a request names; `None` for everything that is not served.
    pub(crate) fn parse(method: &Method, path: &str) -> Option<(ApiVersion, Self)> {
        if path.starts_with(statements::PREFIX) {
            return (method == Method::GET).then_some((ApiVersion::V2_0, Self::FollowExternalLink));
        }
        let (version, call) = path.strip_prefix("/api/")?.split_once('/')?;
        let version = match version {
            "2.0" => ApiVersion::V2_0,
            "2.1" => ApiVersion::V2_1,
            "2.2" => ApiVersion::V2_2,
            _ => return None,
        };
        let endpoint = match (method.as_str(), call) {
            ("POST", "jobs/runs/submit") => Self::SubmitRun,
            ("POST", "jobs/run-now") => Self::RunNow,
            ("GET", "jobs/runs/get") => Self::GetRun,
            ("GET", "jobs/runs/get-output") => Self::GetRunOutput,
            ("POST", "jobs/runs/cancel") => Self::CancelRun,
            ("GET", "jobs/runs/list") => Self::ListRuns,
            ("POST", "jobs/runs/delete") => Self::DeleteRun,
            ("GET", "preview/scim/v2/Me") if version == ApiVersion::V2_0 => Self::Me,
            ("GET", "workspace/get-status") if version == ApiVersion::V2_0 => {
                Self::WorkspaceGetStatus
            }
            ("POST", "workspace/mkdirs") if version == ApiVersion::V2_0 => Self::WorkspaceMkdirs,
            ("POST", "workspace/import") if version == ApiVersion::V2_0 => Self::WorkspaceImport,
            ("GET", "workspace/export") if version == ApiVersion::V2_0 => Self::WorkspaceExport,
            ("POST", "workspace/delete") if version == ApiVersion::V2_0 => Self::WorkspaceDelete,
            ("GET", "clusters/get") if version != ApiVersion::V2_2 => Self::GetCluster,
            ("POST", "clusters/events") if version != ApiVersion::V2_2 => Self::ListClusterEvents,
            ("GET", "dbfs/list") if version == ApiVersion::V2_0 => Self::DbfsList,
            ("GET", "dbfs/get-status") if version == ApiVersion::V2_0 => Self::DbfsGetStatus,
            ("GET", "dbfs/read") if version == ApiVersion::V2_0 => Self::DbfsRead,
            ("GET", path)
                if version == ApiVersion::V2_0 && path.starts_with("fs/directories/Volumes/") =>
            {
                Self::ListVolume
            }
            ("GET", path)
                if version == ApiVersion::V2_0 && path.starts_with("fs/files/Volumes/") =>
            {
                Self::ReadVolumeFile
            }
            (method, path) if version == ApiVersion::V2_0 => Self::of_statement(method, path)?,
            _ => return None,
        };
        Some((version, endpoint))
    }

    /// A call about a statement.
    fn of_statement(method: &str, call: &str) -> Option<Self> {
        let rest = call.strip_prefix("sql/statements")?.trim_end_matches('/');
        let parts: Vec<&str> = rest.split('/').skip(1).collect();
        match (method, parts.as_slice()) {
            ("POST", []) => Some(Self::ExecuteStatement),
            ("GET", [_]) => Some(Self::GetStatement),
            ("POST", [_, "cancel"]) => Some(Self::CancelStatement),
            ("GET", [_, "result", "chunks", _]) => Some(Self::GetStatementChunk),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn method_version_and_path_all_count() {
        let get = |path| Endpoint::parse(&Method::GET, path);
        assert_eq!(get("/api/2.1/jobs/runs/get"), Some((ApiVersion::V2_1, Endpoint::GetRun)));
        assert_eq!(get("/api/2.0/preview/scim/v2/Me"), Some((ApiVersion::V2_0, Endpoint::Me)));
        assert_eq!(get("/api/2.2/preview/scim/v2/Me"), None);
        assert_eq!(get("/api/2.3/jobs/runs/get"), None);
        assert_eq!(get("/api/2.2/jobs/runs/submit"), None);
        assert_eq!(get("/jobs/runs/get"), None);
        let statement = |path| get(path).map(|(_, endpoint)| endpoint);
        assert_eq!(statement("/api/2.0/sql/statements/1"), Some(Endpoint::GetStatement));
        let chunk = statement("/api/2.0/sql/statements/1/result/chunks/0");
        assert_eq!(chunk, Some(Endpoint::GetStatementChunk));
        assert_eq!(statement("/api/2.1/sql/statements/1"), None);
        assert_eq!(statement("/api/2.0/sql/statements"), None);
    }
}
