//! Files of the workspace (DA §10.1), written by the one principal that there is: to its home, and where it is let.

use crate::builder::EmulatorBuilder;
use crate::refusal::{Refusal, invalid};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The largest file that an import takes, in bytes.
const MAX_FILE: usize = 10 * 1024 * 1024;

/// The files, and who may write them.
#[derive(Debug)]
pub(crate) struct Files {
    /// The folders below which the principal may write.
    writable: Vec<String>,
    tree: Mutex<Tree>,
}

#[derive(Debug, Default)]
struct Tree {
    folders: BTreeSet<String>,
    files: BTreeMap<String, Vec<u8>>,
}

impl Files {
    /// The empty home of the user, and the folders that it may write to.
    pub(crate) fn new(settings: &EmulatorBuilder) -> Self {
        let home = format!("/Users/{}", settings.user_name);
        let others = settings.writable_folders.iter().filter_map(|path| normal(path).ok());
        let mut writable: Vec<String> = others.map(ToOwned::to_owned).collect();
        let mut folders = BTreeSet::from_iter(writable.clone());
        folders.insert(home.clone());
        if !settings.read_only_home {
            writable.push(home);
        }
        Self { writable, tree: Mutex::new(Tree { folders, files: BTreeMap::new() }) }
    }

    pub(crate) fn get_status(&self, path: &str) -> Result<Value, Refusal> {
        let path = normal(path)?;
        let tree = self.lock();
        if tree.folders.contains(path) {
            Ok(json!({"object_type": "DIRECTORY", "path": path}))
        } else if let Some(content) = tree.files.get(path) {
            Ok(json!({"object_type": "FILE", "path": path, "size": content.len()}))
        } else {
            Err(missing(path))
        }
    }

    pub(crate) fn mkdirs(&self, body: &Map<String, Value>) -> Result<Value, Refusal> {
        let path = normal(text(body, "path")?)?;
        self.may_write(path)?;
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

    pub(crate) fn import(&self, body: &Map<String, Value>) -> Result<Value, Refusal> {
        let path = normal(text(body, "path")?)?;
        match body.get("format").and_then(Value::as_str) {
            Some("AUTO" | "RAW") => {}
            // Anything else makes a notebook, which the emulator does not have.
            _ => return Err(invalid("Only the formats AUTO and RAW make a file.")),
        }
        let content = STANDARD
            .decode(text(body, "content")?)
            .map_err(|_invalid| invalid("The content is not base64."))?;
        if content.len() > MAX_FILE {
            return Err(Refusal {
                status: StatusCode::BAD_REQUEST,
                error_code: "MAX_NOTEBOOK_SIZE_EXCEEDED",
                message: "The imported file is larger than 10 MB.".to_owned(),
            });
        }
        self.may_write(path)?;
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

    /// Deletes a file, or a folder with all below it when that is asked for.
    pub(crate) fn delete(&self, body: &Map<String, Value>) -> Result<Value, Refusal> {
        let path = normal(text(body, "path")?)?;
        self.may_write(path)?;
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
            return Err(Refusal {
                status: StatusCode::BAD_REQUEST,
                error_code: "DIRECTORY_NOT_EMPTY",
                message: format!("Folder ({path}) is not empty."),
            });
        }
        tree.folders.retain(|name| !is_in(name, path));
        tree.files.retain(|name, _| !is_in(name, path));
        Ok(json!({}))
    }

    pub(crate) fn export(&self, path: &str) -> Result<Value, Refusal> {
        let content = self.content(path).ok_or_else(|| missing(path))?;
        Ok(json!({"content": STANDARD.encode(content), "file_type": "py"}))
    }

    /// The content of a file; none when there is no such file.
    pub(crate) fn content(&self, path: &str) -> Option<Vec<u8>> {
        self.lock().files.get(normal(path).ok()?).cloned()
    }

    /// Puts a file there, whoever may write it.
    pub(crate) fn put(&self, path: &str, content: Vec<u8>) {
        if let Ok(path) = normal(path) {
            self.lock().files.insert(path.to_owned(), content);
        }
    }

    /// Elsewhere the principal has no rights.
    fn may_write(&self, path: &str) -> Result<(), Refusal> {
        if self.writable.iter().any(|folder| is_in(path, folder)) {
            return Ok(());
        }
        Err(Refusal {
            status: StatusCode::FORBIDDEN,
            error_code: "PERMISSION_DENIED",
            message: format!("The user does not have Edit permissions on {path}."),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The path without the prefix that means the same, and without a final slash.
fn normal(path: &str) -> Result<&str, Refusal> {
    let path = path.strip_prefix("/Workspace").filter(|rest| rest.starts_with('/')).unwrap_or(path);
    let path = path.trim_end_matches('/');
    if path.starts_with('/') && !path.split('/').any(|part| part == ".." || part == ".") {
        Ok(path)
    } else {
        Err(invalid("The path must be absolute."))
    }
}

/// Whether a path is a folder or lies below it.
fn is_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn text<'a>(body: &'a Map<String, Value>, field: &str) -> Result<&'a str, Refusal> {
    body.get(field)
        .and_then(Value::as_str)
        .ok_or_else(|| invalid(format!("Missing required field: {field}.")))
}

fn missing(path: &str) -> Refusal {
    Refusal {
        status: StatusCode::NOT_FOUND,
        error_code: "RESOURCE_DOES_NOT_EXIST",
        message: format!("Path ({path}) doesn't exist."),
    }
}

fn exists(path: &str) -> Refusal {
    Refusal {
        status: StatusCode::BAD_REQUEST,
        error_code: "RESOURCE_ALREADY_EXISTS",
        message: format!("Path ({path}) already exists."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(value: &Value) -> &Map<String, Value> {
        value.as_object().unwrap()
    }

    fn of_me() -> EmulatorBuilder {
        EmulatorBuilder::default().user_name("me@x")
    }

    #[test]
    fn a_file_needs_its_folder_and_comes_back_as_it_was() {
        let files = Files::new(&of_me());
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
    fn only_the_home_is_writable_unless_more_is_allowed() {
        let files = Files::new(&of_me());
        for path in ["/Shared/f", "/Users/me@xy/f", "/Users/you@x/f"] {
            let refusal = files.mkdirs(body(&json!({ "path": path }))).unwrap_err();
            assert_eq!(refusal.status, StatusCode::FORBIDDEN, "{path}");
        }
        let read_only = Files::new(&of_me().read_only_home());
        let refusal = read_only.mkdirs(body(&json!({"path": "/Users/me@x/a"}))).unwrap_err();
        assert_eq!(refusal.status, StatusCode::FORBIDDEN);

        let shared = Files::new(&of_me().writable_folder("/Workspace/Shared"));
        let import = json!({"path": "/Shared/f.py", "format": "RAW", "content": ""});
        shared.import(body(&import)).unwrap();
        assert!(shared.mkdirs(body(&json!({"path": "/Sharedx"}))).is_err());
    }

    #[test]
    fn a_folder_goes_with_what_is_in_it_only_when_that_is_asked_for() {
        let files = Files::new(&of_me());
        files.mkdirs(body(&json!({"path": "/Users/me@x/a/b"}))).unwrap();
        files.put("/Users/me@x/a/f.py", Vec::new());
        files.put("/Users/me@x/ab", Vec::new());
        let code = |value: &Value| files.delete(body(value)).map_err(|refusal| refusal.error_code);
        assert_eq!(code(&json!({"path": "/Users/me@x/a"})), Err("DIRECTORY_NOT_EMPTY"));
        assert_eq!(code(&json!({"path": "/Users/me@x/c"})), Err("RESOURCE_DOES_NOT_EXIST"));
        assert_eq!(code(&json!({"path": "/Shared"})), Err("PERMISSION_DENIED"));
        code(&json!({"path": "/Users/me@x/a/b"})).unwrap();
        code(&json!({"path": "/Users/me@x/a", "recursive": true})).unwrap();
        assert_eq!(files.content("/Users/me@x/a/f.py"), None);
        code(&json!({"path": "/Users/me@x/ab"})).unwrap();
    }
}
