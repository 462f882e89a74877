//! Workspace files (databricks-api.md#workspace-files). The only user may write to its home and to configured folders.

use crate::api::error::{self, ApiError, invalid};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The largest file that can be imported, in bytes.
const MAX_FILE: usize = 10 * 1024 * 1024;

/// The folders and files of the workspace.
#[derive(Debug)]
pub(crate) struct WorkspaceFiles {
    /// Folders that the user may write to.
    writable: Vec<String>,
    tree: Mutex<Tree>,
}

#[derive(Debug, Default)]
struct Tree {
    folders: BTreeSet<String>,
    files: BTreeMap<String, Vec<u8>>,
}

impl WorkspaceFiles {
    /// Creates the empty home of the user, and the writable folders.
    pub(crate) fn new(user_name: &str, writable_folders: &[String], read_only_home: bool) -> Self {
        let home = format!("/Users/{user_name}");
        let others = writable_folders.iter().filter_map(|path| normalized(path).ok());
        let mut writable: Vec<String> = others.map(ToOwned::to_owned).collect();
        let mut folders = BTreeSet::from_iter(writable.clone());
        folders.insert(home.clone());
        if !read_only_home {
            writable.push(home);
        }
        Self { writable, tree: Mutex::new(Tree { folders, files: BTreeMap::new() }) }
    }

    pub(crate) fn get_status(&self, path: &str) -> Result<Value, ApiError> {
        let path = normalized(path)?;
        let tree = self.lock();
        if tree.folders.contains(path) {
            Ok(json!({"object_type": "DIRECTORY", "path": path}))
        } else if let Some(content) = tree.files.get(path) {
            Ok(json!({"object_type": "FILE", "path": path, "size": content.len()}))
        } else {
            Err(missing(path))
        }
    }

    pub(crate) fn mkdirs(&self, body: &Map<String, Value>) -> Result<Value, ApiError> {
        let path = normalized(text(body, "path")?)?;
        self.check_writable(path)?;
        let mut tree = self.lock();
        let mut folder = path;
        loop {
            if tree.files.contains_key(folder) {
                return Err(exists(folder));
            }
            tree.folders.insert(folder.to_owned());
            match folder.rsplit_once('/') {
                Some((parent, _)) if !parent.is_empty() => folder = parent,
                _ => return Ok(json!({})),
            }
        }
    }

    pub(crate) fn import(&self, body: &Map<String, Value>) -> Result<Value, ApiError> {
        let path = normalized(text(body, "path")?)?;
        match body.get("format").and_then(Value::as_str) {
            Some("AUTO" | "RAW") => {}
            // Other formats create notebooks, which the emulator does not have.
            _ => return Err(invalid("Only the formats AUTO and RAW create a file.")),
        }
        let content = STANDARD
            .decode(text(body, "content")?)
            .map_err(|_invalid| invalid("The content is not base64."))?;
        if content.len() > MAX_FILE {
            return Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "MAX_NOTEBOOK_SIZE_EXCEEDED",
                "The imported file is larger than 10 MB.".to_owned(),
            ));
        }
        self.check_writable(path)?;
        let overwrite = body.get("overwrite").and_then(Value::as_bool).unwrap_or(false);
        let mut tree = self.lock();
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if !tree.folders.contains(parent) {
            return Err(missing(parent));
        }
        if tree.folders.contains(path) || (tree.files.contains_key(path) && !overwrite) {
            return Err(exists(path));
        }
        tree.files.insert(path.to_owned(), content);
        Ok(json!({}))
    }

    /// Deletes a file, or a folder: with its content only if the request is recursive.
    pub(crate) fn delete(&self, body: &Map<String, Value>) -> Result<Value, ApiError> {
        let path = normalized(text(body, "path")?)?;
        self.check_writable(path)?;
        let recursive = body.get("recursive").and_then(Value::as_bool).unwrap_or(false);
        let mut tree = self.lock();
        if tree.files.remove(path).is_some() {
            return Ok(json!({}));
        }
        if !tree.folders.contains(path) {
            return Err(missing(path));
        }
        let is_below = |name: &String| is_in(name, path) && name != path;
        if !recursive && (tree.folders.iter().any(is_below) || tree.files.keys().any(is_below)) {
            return Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "DIRECTORY_NOT_EMPTY",
                format!("Folder ({path}) is not empty."),
            ));
        }
        tree.folders.retain(|name| !is_in(name, path));
        tree.files.retain(|name, _| !is_in(name, path));
        Ok(json!({}))
    }

    pub(crate) fn export(&self, path: &str) -> Result<Value, ApiError> {
        let content = self.content(path).ok_or_else(|| missing(path))?;
        Ok(json!({"content": STANDARD.encode(content), "file_type": "py"}))
    }

    /// Returns the content of a file, or `None` if it does not exist.
    pub(crate) fn content(&self, path: &str) -> Option<Vec<u8>> {
        self.lock().files.get(normalized(path).ok()?).cloned()
    }

    /// Writes a file regardless of permissions.
    pub(crate) fn put(&self, path: &str, content: Vec<u8>) {
        if let Ok(path) = normalized(path) {
            self.lock().files.insert(path.to_owned(), content);
        }
    }

    /// Rejects a path outside the writable folders.
    fn check_writable(&self, path: &str) -> Result<(), ApiError> {
        if self.writable.iter().any(|folder| is_in(path, folder)) {
            return Ok(());
        }
        Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "PERMISSION_DENIED",
            format!("The user does not have Edit permissions on {path}."),
        ))
    }

    fn lock(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the path without `/Workspace` and trailing slashes.
fn normalized(path: &str) -> Result<&str, ApiError> {
    let path = path.strip_prefix("/Workspace").filter(|rest| rest.starts_with('/')).unwrap_or(path);
    let path = path.trim_end_matches('/');
    if path.starts_with('/') && !path.split('/').any(|part| part == ".." || part == ".") {
        Ok(path)
    } else {
        Err(invalid("The path must be absolute."))
    }
}

/// True if the path is the folder or below it.
fn is_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn text<'a>(body: &'a Map<String, Value>, field: &str) -> Result<&'a str, ApiError> {
    body.get(field)
        .and_then(Value::as_str)
        .ok_or_else(|| invalid(format!("Missing required field: {field}.")))
}

fn missing(path: &str) -> ApiError {
    error::missing(format!("Path ({path}) doesn't exist."))
}

fn exists(path: &str) -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "RESOURCE_ALREADY_EXISTS",
        format!("Path ({path}) already exists."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(value: &Value) -> &Map<String, Value> {
        value.as_object().unwrap()
    }

    fn files_of_me() -> WorkspaceFiles {
        WorkspaceFiles::new("me@x", &[], false)
    }

    #[test]
    fn import_needs_an_existing_folder_and_keeps_the_content() {
        let files = files_of_me();
        let import = json!({"path": "/Workspace/Users/me@x/a/f.py", "format": "AUTO", "content": STANDARD.encode("x")});
        assert_eq!(files.import(body(&import)).unwrap_err().error_code, "RESOURCE_DOES_NOT_EXIST");
        files.mkdirs(body(&json!({"path": "/Users/me@x/a"}))).unwrap();
        files.import(body(&import)).unwrap();
        assert_eq!(files.import(body(&import)).unwrap_err().error_code, "RESOURCE_ALREADY_EXISTS");
        assert_eq!(files.content("/Users/me@x/a/f.py"), Some(b"x".to_vec()));
        assert_eq!(
            files.get_status("/Workspace/Users/me@x/a/f.py").unwrap()["object_type"],
            "FILE"
        );
        assert_eq!(files.get_status("/Users/me@x/a/").unwrap()["object_type"], "DIRECTORY");
    }

    #[test]
    fn only_the_home_is_writable_by_default() {
        let files = files_of_me();
        for path in ["/Shared/f", "/Users/me@xy/f", "/Users/you@x/f"] {
            let error = files.mkdirs(body(&json!({ "path": path }))).unwrap_err();
            assert_eq!(error.status, StatusCode::FORBIDDEN, "{path}");
        }
        let read_only = WorkspaceFiles::new("me@x", &[], true);
        let error = read_only.mkdirs(body(&json!({"path": "/Users/me@x/a"}))).unwrap_err();
        assert_eq!(error.status, StatusCode::FORBIDDEN);

        let shared = WorkspaceFiles::new("me@x", &["/Workspace/Shared".to_owned()], false);
        let import = json!({"path": "/Shared/f.py", "format": "RAW", "content": ""});
        shared.import(body(&import)).unwrap();
        assert!(shared.mkdirs(body(&json!({"path": "/Sharedx"}))).is_err());
    }

    #[test]
    fn folder_with_content_is_deleted_only_recursively() {
        let files = files_of_me();
        files.mkdirs(body(&json!({"path": "/Users/me@x/a/b"}))).unwrap();
        files.put("/Users/me@x/a/f.py", Vec::new());
        files.put("/Users/me@x/ab", Vec::new());
        let code = |value: &Value| files.delete(body(value)).map_err(|error| error.error_code);
        assert_eq!(code(&json!({"path": "/Users/me@x/a"})), Err("DIRECTORY_NOT_EMPTY"));
        assert_eq!(code(&json!({"path": "/Users/me@x/c"})), Err("RESOURCE_DOES_NOT_EXIST"));
        assert_eq!(code(&json!({"path": "/Shared"})), Err("PERMISSION_DENIED"));
        code(&json!({"path": "/Users/me@x/a/b"})).unwrap();
        code(&json!({"path": "/Users/me@x/a", "recursive": true})).unwrap();
        assert_eq!(files.content("/Users/me@x/a/f.py"), None);
        code(&json!({"path": "/Users/me@x/ab"})).unwrap();
    }
}
