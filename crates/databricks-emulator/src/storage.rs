//! Files of DBFS (DA §1.11) and of Unity Catalog volumes (DA §1.12): what clusters deliver their logs to.

use crate::clock;
use crate::delivery::Change;
use crate::refusal::{Refusal, invalid};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What one read of DBFS gives when it does not say how much, and at most.
const DEFAULT_READ: i64 = 500_000;
const MAX_READ: i64 = 1_000_000;

/// The files by their absolute path; those below `/Volumes` are the volumes'.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    files: Mutex<BTreeMap<String, File>>,
}

#[derive(Debug, Default)]
struct File {
    content: Vec<u8>,
    written: Duration,
}

/// A part of a file of a volume.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) content: Vec<u8>,
    /// The place of its first byte.
    pub(crate) first: usize,
    /// The length of the whole file.
    pub(crate) whole: usize,
    pub(crate) written: Duration,
}

impl Storage {
    pub(crate) fn put(&self, path: &str, content: Vec<u8>) {
        self.lock().insert(normal(path), File { content, written: clock::now() });
    }

    pub(crate) fn append(&self, path: &str, content: &[u8]) {
        let mut files = self.lock();
        let file = files.entry(normal(path)).or_default();
        file.content.extend_from_slice(content);
        file.written = clock::now();
    }

    /// Gives a file another name, and keeps when it was written. Whether there was one.
    pub(crate) fn rename(&self, from: &str, to: &str) -> bool {
        let mut files = self.lock();
        let Some(file) = files.remove(&normal(from)) else { return false };
        files.insert(normal(to), file);
        true
    }

    /// Does to a driver's files in all these folders what is delivered.
    pub(crate) fn deliver(&self, folders: &[String], changes: &[Change]) {
        for (folder, change) in
            folders.iter().flat_map(|folder| changes.iter().map(move |change| (folder, change)))
        {
            match change {
                Change::Append { file, text } => {
                    self.append(&format!("{folder}/{file}"), text.as_bytes());
                }
                Change::Rotate { file, to } => {
                    self.rename(&format!("{folder}/{file}"), &format!("{folder}/{to}"));
                }
            }
        }
    }

    pub(crate) fn content(&self, path: &str) -> Option<Vec<u8>> {
        self.lock().get(&normal(path)).map(|file| file.content.clone())
    }

    pub(crate) fn dbfs_list(&self, path: &str) -> Result<Value, Refusal> {
        let path = dbfs_path(path)?;
        let files = self.lock();
        if let Some(file) = files.get(&path) {
            return Ok(json!({"files": [dbfs_file(&path, file)]}));
        }
        let found = entries(&files, &path).ok_or_else(|| missing(&path))?;
        let told = found.into_iter().map(|(name, file)| match file {
            Some(file) => dbfs_file(&format!("{path}/{name}"), file),
            None => json!({"path": format!("{path}/{name}"), "is_dir": true, "file_size": 0, "modification_time": 0}),
        });
        let told: Vec<Value> = told.collect();
        Ok(json!({"files": told}))
    }

    pub(crate) fn dbfs_status(&self, path: &str) -> Result<Value, Refusal> {
        let path = dbfs_path(path)?;
        let files = self.lock();
        match files.get(&path) {
            Some(file) => Ok(dbfs_file(&path, file)),
            None if entries(&files, &path).is_some() => {
                Ok(json!({"path": path, "is_dir": true, "file_size": 0, "modification_time": 0}))
            }
            None => Err(missing(&path)),
        }
    }

    pub(crate) fn dbfs_read(
        &self,
        path: &str,
        offset: Option<i64>,
        length: Option<i64>,
    ) -> Result<Value, Refusal> {
        let path = dbfs_path(path)?;
        let (offset, length) = (offset.unwrap_or(0), length.unwrap_or(DEFAULT_READ));
        if length > MAX_READ {
            return Err(Refusal {
                status: StatusCode::BAD_REQUEST,
                error_code: "MAX_READ_SIZE_EXCEEDED",
                message: format!(
                    "The read length {length} exceeds the maximum of {MAX_READ} bytes."
                ),
            });
        }
        let (Ok(offset), Ok(length)) = (usize::try_from(offset), usize::try_from(length)) else {
            return Err(invalid("The offset and the length must not be negative."));
        };
        let files = self.lock();
        let Some(file) = files.get(&path) else {
            return Err(match entries(&files, &path) {
                Some(_) => invalid(format!("Cannot read the directory {path}.")),
                None => missing(&path),
            });
        };
        let content = part(&file.content, offset, length);
        Ok(json!({"bytes_read": content.len(), "data": STANDARD.encode(content)}))
    }

    /// A page of a folder of a volume; the token is the place of its first entry.
    pub(crate) fn volume_list(
        &self,
        path: &str,
        page_size: Option<i64>,
        token: Option<&str>,
    ) -> Result<Value, Refusal> {
        let path = normal(path);
        let size = page_size.filter(|size| *size > 0).unwrap_or(1_000).min(1_000);
        let size = usize::try_from(size).unwrap_or(1_000);
        let first: usize = match token.filter(|token| !token.is_empty()) {
            Some(token) => token.parse().map_err(|_invalid| invalid("Invalid page_token."))?,
            None => 0,
        };
        let files = self.lock();
        let found = entries(&files, &path).ok_or_else(|| missing(&path))?;
        let whole = found.len();
        let told: Vec<Value> = found
            .into_iter()
            .skip(first)
            .take(size)
            .map(|(name, file)| {
                let path = format!("{path}/{name}");
                match file {
                    Some(file) => json!({"name": name, "path": path, "is_directory": false,
                        "file_size": file.content.len(), "last_modified": millis(file.written)}),
                    None => json!({"name": name, "path": path, "is_directory": true}),
                }
            })
            .collect();
        let next = first + told.len();
        let mut answer = json!({"contents": told});
        if next < whole
            && let Some(answer) = answer.as_object_mut()
        {
            answer.insert("next_page_token".to_owned(), next.to_string().into());
        }
        Ok(answer)
    }

    /// A part of a file of a volume: from the first byte to the last, both included, or to the end.
    pub(crate) fn volume_read(
        &self,
        path: &str,
        first: usize,
        last: Option<usize>,
    ) -> Result<Part, Refusal> {
        let path = normal(path);
        let files = self.lock();
        let file = files.get(&path).ok_or_else(|| missing(&path))?;
        let length = last.map_or(usize::MAX, |last| last.saturating_add(1).saturating_sub(first));
        Ok(Part {
            content: part(&file.content, first, length).to_vec(),
            first,
            whole: file.content.len(),
            written: file.written,
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn part(content: &[u8], offset: usize, length: usize) -> &[u8] {
    let rest = content.get(offset..).unwrap_or_default();
    rest.get(..length).unwrap_or(rest)
}

/// What is in a folder, folders without a file; none when there is no such folder.
fn entries<'a>(
    files: &'a BTreeMap<String, File>,
    folder: &str,
) -> Option<BTreeMap<&'a str, Option<&'a File>>> {
    let prefix = format!("{folder}/");
    let mut found = BTreeMap::new();
    let mut folders = BTreeSet::new();
    for (path, file) in files.range(prefix.clone()..) {
        let Some(rest) = path.strip_prefix(&prefix) else { break };
        match rest.split_once('/') {
            Some((folder, _)) => drop(folders.insert(folder)),
            None => drop(found.insert(rest, Some(file))),
        }
    }
    found.extend(folders.into_iter().map(|folder| (folder, None)));
    Some(found).filter(|found| !found.is_empty() || folder.is_empty())
}

fn dbfs_file(path: &str, file: &File) -> Value {
    json!({"path": path, "is_dir": false, "file_size": file.content.len(), "modification_time": millis(file.written)})
}

/// DBFS takes absolute paths alone.
fn dbfs_path(path: &str) -> Result<String, Refusal> {
    if path.starts_with('/') {
        Ok(normal(path))
    } else {
        Err(invalid("The path must be absolute."))
    }
}

/// The path without the scheme that means the same, and without a final slash.
fn normal(path: &str) -> String {
    let path = path.strip_prefix("dbfs:").unwrap_or(path);
    path.trim_end_matches('/').to_owned()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn missing(path: &str) -> Refusal {
    Refusal {
        status: StatusCode::NOT_FOUND,
        error_code: "RESOURCE_DOES_NOT_EXIST",
        message: format!("No file or directory exists on path {path}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dbfs_reads_parts_and_tells_what_is_in_a_folder() {
        let storage = Storage::default();
        storage.append("dbfs:/logs/c/driver/stdout", b"hello ");
        storage.append("/logs/c/driver/stdout", b"world");
        storage.put("/logs/c/driver/eventlog/x", Vec::new());
        let listed = storage.dbfs_list("/logs/c/driver/").unwrap();
        let names: Vec<_> = listed["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| {
                (
                    file["path"].as_str().unwrap(),
                    file["is_dir"].as_bool().unwrap(),
                    file["file_size"].as_u64().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            names,
            [("/logs/c/driver/eventlog", true, 0), ("/logs/c/driver/stdout", false, 11)]
        );
        let read = storage.dbfs_read("/logs/c/driver/stdout", Some(6), Some(100)).unwrap();
        assert_eq!(read, json!({"bytes_read": 5, "data": STANDARD.encode("world")}));
        assert_eq!(
            storage.dbfs_read("/logs/c/driver/stdout", Some(60), None).unwrap()["bytes_read"],
            0
        );
        assert_eq!(storage.dbfs_status("/logs/c").unwrap()["is_dir"], true);
        let code = |refused: Result<Value, Refusal>| refused.unwrap_err().error_code;
        assert_eq!(code(storage.dbfs_read("/logs/c", None, None)), "INVALID_PARAMETER_VALUE");
        assert_eq!(code(storage.dbfs_read("/logs/x", None, None)), "RESOURCE_DOES_NOT_EXIST");
        assert_eq!(
            code(storage.dbfs_read("/logs/c/driver/stdout", Some(-1), None)),
            "INVALID_PARAMETER_VALUE"
        );
        assert_eq!(
            code(storage.dbfs_read("/logs/c/driver/stdout", None, Some(1_000_001))),
            "MAX_READ_SIZE_EXCEEDED"
        );
        assert_eq!(code(storage.dbfs_list("logs")), "INVALID_PARAMETER_VALUE");
        assert!(storage.rename("/logs/c/driver/stdout", "/logs/c/driver/stdout--1"));
        assert!(!storage.rename("/logs/c/driver/stdout", "/logs/c/driver/stdout--1"));
        assert_eq!(storage.content("/logs/c/driver/stdout--1"), Some(b"hello world".to_vec()));
    }

    #[test]
    fn a_folder_of_a_volume_comes_in_pages() {
        let storage = Storage::default();
        for name in ["a", "b", "c"] {
            storage.put(&format!("/Volumes/c/s/v/{name}"), vec![1]);
        }
        let first = storage.volume_list("/Volumes/c/s/v", Some(2), None).unwrap();
        assert_eq!(first["contents"].as_array().unwrap().len(), 2);
        let token = first["next_page_token"].as_str();
        let rest = storage.volume_list("/Volumes/c/s/v", Some(2), token).unwrap();
        assert_eq!(
            (&rest["contents"][0]["name"], rest.get("next_page_token")),
            (&json!("c"), None)
        );
        assert_eq!(
            storage.volume_list("/Volumes/x", None, None).unwrap_err().status,
            StatusCode::NOT_FOUND
        );
    }
}
