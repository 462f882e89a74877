//! Files of DBFS (databricks-api.md#dbfs-read) and of Unity Catalog volumes (databricks-api.md#files-api).

#![expect(clippy::indexing_slicing, reason = "assigning to a key of a JSON object does not panic")]

use crate::api::error::{self, ApiError, invalid};
use crate::clock::{self, millis};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Default and maximum length of one DBFS read, in bytes.
const DEFAULT_READ: i64 = 500_000;
const MAX_READ: i64 = 1_000_000;

/// Files by absolute path. Those below `/Volumes` are volume files, the others are in DBFS.
#[derive(Debug, Default)]
pub(crate) struct DataFiles {
    files: Mutex<BTreeMap<String, StoredFile>>,
}

#[derive(Debug, Default)]
struct StoredFile {
    content: Vec<u8>,
    written: Duration,
}

/// A byte range of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FileRange {
    pub(crate) content: Vec<u8>,
    /// The offset of its first byte.
    pub(crate) first: usize,
    /// The length of the file.
    pub(crate) total: usize,
    pub(crate) written: Duration,
}

/// One change to the log files of a cluster's driver.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FileChange {
    Append { file: &'static str, text: String },
    Rotate { file: &'static str, to: String },
}

impl DataFiles {
    pub(crate) fn put(&self, path: &str, content: Vec<u8>) {
        self.lock().insert(normalized(path), StoredFile { content, written: clock::now() });
    }

    pub(crate) fn append(&self, path: &str, content: &[u8]) {
        let mut files = self.lock();
        let file = files.entry(normalized(path)).or_default();
        file.content.extend_from_slice(content);
        file.written = clock::now();
    }

    /// Renames a file and keeps its modification time. Returns true if it existed.
    pub(crate) fn rename(&self, from: &str, to: &str) -> bool {
        let mut files = self.lock();
        let Some(file) = files.remove(&normalized(from)) else { return false };
        files.insert(normalized(to), file);
        true
    }

    /// Applies the changes in each of the folders.
    pub(crate) fn apply(&self, folders: &[String], changes: &[FileChange]) {
        for (folder, change) in
            folders.iter().flat_map(|folder| changes.iter().map(move |change| (folder, change)))
        {
            match change {
                FileChange::Append { file, text } => {
                    self.append(&format!("{folder}/{file}"), text.as_bytes());
                }
                FileChange::Rotate { file, to } => {
                    self.rename(&format!("{folder}/{file}"), &format!("{folder}/{to}"));
                }
            }
        }
    }

    pub(crate) fn content(&self, path: &str) -> Option<Vec<u8>> {
        self.lock().get(&normalized(path)).map(|file| file.content.clone())
    }

    pub(crate) fn dbfs_list(&self, path: &str) -> Result<Value, ApiError> {
        let path = dbfs_path(path)?;
        let files = self.lock();
        if let Some(file) = files.get(&path) {
            return Ok(json!({"files": [dbfs_file(&path, file)]}));
        }
        let found = entries(&files, &path).ok_or_else(|| missing(&path))?;
        let listed = found.into_iter().map(|(name, file)| match file {
            Some(file) => dbfs_file(&format!("{path}/{name}"), file),
            None => json!({"path": format!("{path}/{name}"), "is_dir": true, "file_size": 0, "modification_time": 0}),
        });
        let listed: Vec<Value> = listed.collect();
        Ok(json!({"files": listed}))
    }

    pub(crate) fn dbfs_status(&self, path: &str) -> Result<Value, ApiError> {
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
    ) -> Result<Value, ApiError> {
        let path = dbfs_path(path)?;
        let (offset, length) = (offset.unwrap_or(0), length.unwrap_or(DEFAULT_READ));
        if length > MAX_READ {
            return Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "MAX_READ_SIZE_EXCEEDED",
                format!("The read length {length} exceeds the maximum of {MAX_READ} bytes."),
            ));
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

    /// Lists one page of a volume folder. The page token is the index of the first entry.
    pub(crate) fn volume_list(
        &self,
        path: &str,
        page_size: Option<i64>,
        token: Option<&str>,
    ) -> Result<Value, ApiError> {
        let path = normalized(path);
        let size = page_size.filter(|size| *size > 0).unwrap_or(1_000).min(1_000);
        let size = usize::try_from(size).unwrap_or(1_000);
        let first: usize = match token.filter(|token| !token.is_empty()) {
            Some(token) => token.parse().map_err(|_invalid| invalid("Invalid page_token."))?,
            None => 0,
        };
        let files = self.lock();
        let found = entries(&files, &path).ok_or_else(|| missing(&path))?;
        let total = found.len();
        let page: Vec<Value> = found
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
        let next = first + page.len();
        let mut response = json!({"contents": page});
        if next < total {
            response["next_page_token"] = next.to_string().into();
        }
        Ok(response)
    }

    /// Reads a volume file from byte `first` to byte `last`, both inclusive, or to the end.
    pub(crate) fn volume_read(
        &self,
        path: &str,
        first: usize,
        last: Option<usize>,
    ) -> Result<FileRange, ApiError> {
        let path = normalized(path);
        let files = self.lock();
        let file = files.get(&path).ok_or_else(|| missing(&path))?;
        let length = last.map_or(usize::MAX, |last| last.saturating_add(1).saturating_sub(first));
        Ok(FileRange {
            content: part(&file.content, first, length).to_vec(),
            first,
            total: file.content.len(),
            written: file.written,
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, StoredFile>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn part(content: &[u8], offset: usize, length: usize) -> &[u8] {
    let rest = content.get(offset..).unwrap_or_default();
    rest.get(..length).unwrap_or(rest)
}

/// Returns the entries of a folder; subfolders have no file. `None` if there is no such folder.
fn entries<'a>(
    files: &'a BTreeMap<String, StoredFile>,
    folder: &str,
) -> Option<BTreeMap<&'a str, Option<&'a StoredFile>>> {
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

fn dbfs_file(path: &str, file: &StoredFile) -> Value {
    json!({"path": path, "is_dir": false, "file_size": file.content.len(), "modification_time": millis(file.written)})
}

/// DBFS paths must be absolute.
fn dbfs_path(path: &str) -> Result<String, ApiError> {
    if path.starts_with('/') {
        Ok(normalized(path))
    } else {
        Err(invalid("The path must be absolute."))
    }
}

/// Returns the path without `dbfs:` and trailing slashes.
fn normalized(path: &str) -> String {
    let path = path.strip_prefix("dbfs:").unwrap_or(path);
    path.trim_end_matches('/').to_owned()
}

fn missing(path: &str) -> ApiError {
    error::missing(format!("No file or directory exists on path {path}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dbfs_reads_ranges_and_lists_folders() {
        let storage = DataFiles::default();
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
        let code = |result: Result<Value, ApiError>| result.unwrap_err().error_code;
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
    fn volume_folder_is_listed_in_pages() {
        let storage = DataFiles::default();
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
