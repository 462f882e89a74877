//! The endpoints of the workspace API, recognized by method and path.

use axum::http::Method;
use serde::{Deserialize, Serialize};

/// The path prefix of external links of SQL results.
pub(crate) const EXTERNAL_LINK_PREFIX: &str = "/emulator-storage/";

/// An endpoint of the workspace API, in any version (databricks-api.md#common-rules). In JSON `"submit_run"` etc.
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
    /// `GET preview/scim/v2/Me`, version 2.0 only.
    Me,
    /// `GET workspace/get-status`, version 2.0 only (databricks-api.md#workspace-files).
    WorkspaceGetStatus,
    /// `POST workspace/mkdirs`, version 2.0 only.
    WorkspaceMkdirs,
    /// `POST workspace/import`, version 2.0 only.
    WorkspaceImport,
    /// `GET workspace/export`, version 2.0 only.
    WorkspaceExport,
    /// `POST workspace/delete`, version 2.0 only.
    WorkspaceDelete,
    /// `GET clusters/get`, versions 2.0 and 2.1 (databricks-api.md#clusters).
    GetCluster,
    /// `POST clusters/events`, versions 2.0 and 2.1.
    ListClusterEvents,
    /// `GET dbfs/list`, version 2.0 only (databricks-api.md#dbfs-read).
    DbfsList,
    /// `GET dbfs/get-status`, version 2.0 only.
    DbfsGetStatus,
    /// `GET dbfs/read`, version 2.0 only.
    DbfsRead,
    /// `GET fs/directories/Volumes/…`, version 2.0 only (databricks-api.md#files-api).
    ListVolume,
    /// `GET fs/files/Volumes/…`, version 2.0 only.
    ReadVolumeFile,
    /// `POST sql/statements`, version 2.0 only (databricks-api.md#sql-statements).
    ExecuteStatement,
    /// `GET sql/statements/{id}`, version 2.0 only.
    GetStatement,
    /// `POST sql/statements/{id}/cancel`, version 2.0 only.
    CancelStatement,
    /// `GET sql/statements/{id}/result/chunks/{index}`, version 2.0 only.
    GetStatementChunk,
    /// `GET` of an external link of an SQL result. It rejects requests with a bearer token.
    FollowExternalLink,
    /// All token and OAuth discovery endpoints, those of the clouds included (databricks-api.md#oauth). Not recorded.
    MintToken,
}

/// A version of the API, as in `/api/2.1/…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ApiVersion {
    /// One task per run; its keys are at the top level of the body.
    V2_0,
    /// `tasks[]`, or one task at the top level (databricks-api.md#further-facts).
    V2_1,
    /// `tasks[]`, and pages of 100 tasks.
    V2_2,
}

/// The endpoints with a fixed path, their method, and the latest version that has them.
const FIXED: [(Endpoint, &str, &str, ApiVersion); 18] = [
    (Endpoint::SubmitRun, "POST", "jobs/runs/submit", ApiVersion::V2_2),
    (Endpoint::RunNow, "POST", "jobs/run-now", ApiVersion::V2_2),
    (Endpoint::GetRun, "GET", "jobs/runs/get", ApiVersion::V2_2),
    (Endpoint::GetRunOutput, "GET", "jobs/runs/get-output", ApiVersion::V2_2),
    (Endpoint::CancelRun, "POST", "jobs/runs/cancel", ApiVersion::V2_2),
    (Endpoint::ListRuns, "GET", "jobs/runs/list", ApiVersion::V2_2),
    (Endpoint::DeleteRun, "POST", "jobs/runs/delete", ApiVersion::V2_2),
    (Endpoint::GetCluster, "GET", "clusters/get", ApiVersion::V2_1),
    (Endpoint::ListClusterEvents, "POST", "clusters/events", ApiVersion::V2_1),
    (Endpoint::Me, "GET", "preview/scim/v2/Me", ApiVersion::V2_0),
    (Endpoint::WorkspaceGetStatus, "GET", "workspace/get-status", ApiVersion::V2_0),
    (Endpoint::WorkspaceMkdirs, "POST", "workspace/mkdirs", ApiVersion::V2_0),
    (Endpoint::WorkspaceImport, "POST", "workspace/import", ApiVersion::V2_0),
    (Endpoint::WorkspaceExport, "GET", "workspace/export", ApiVersion::V2_0),
    (Endpoint::WorkspaceDelete, "POST", "workspace/delete", ApiVersion::V2_0),
    (Endpoint::DbfsList, "GET", "dbfs/list", ApiVersion::V2_0),
    (Endpoint::DbfsGetStatus, "GET", "dbfs/get-status", ApiVersion::V2_0),
    (Endpoint::DbfsRead, "GET", "dbfs/read", ApiVersion::V2_0),
];

impl Endpoint {
    /// Returns the API version and endpoint of a request, or `None` if there is no such endpoint.
    pub(crate) fn parse(method: &Method, path: &str) -> Option<(ApiVersion, Self)> {
        if path.starts_with(EXTERNAL_LINK_PREFIX) {
            return (method == Method::GET).then_some((ApiVersion::V2_0, Self::FollowExternalLink));
        }
        let (version, call) = path.strip_prefix("/api/")?.split_once('/')?;
        let version = match version {
            "2.0" => ApiVersion::V2_0,
            "2.1" => ApiVersion::V2_1,
            "2.2" => ApiVersion::V2_2,
            _ => return None,
        };
        let is_named = |(_, fixed_method, path, latest): &&(Self, &str, &str, ApiVersion)| {
            *fixed_method == method.as_str() && *path == call && version <= *latest
        };
        let endpoint = match FIXED.iter().find(is_named) {
            Some((endpoint, ..)) => *endpoint,
            None if version != ApiVersion::V2_0 => return None,
            None => match (method.as_str(), call) {
                ("GET", path) if path.starts_with("fs/directories/Volumes/") => Self::ListVolume,
                ("GET", path) if path.starts_with("fs/files/Volumes/") => Self::ReadVolumeFile,
                (method, path) => Self::parse_statement(method, path)?,
            },
        };
        Some((version, endpoint))
    }

    fn parse_statement(method: &str, call: &str) -> Option<Self> {
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
    fn endpoint_depends_on_method_version_and_path() {
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
