//! Absence of a file, as reported by the workspace.

use crate::{Error, ErrorKind};

/// Returns none if the error has one of the given codes, with status 404. The 404 of a gateway has another code.
pub(super) fn none_if_absent<T>(
    result: Result<T, Error>,
    codes: &[&str],
) -> Result<Option<T>, Error> {
    match result {
        Err(error)
            if error.kind() == ErrorKind::NotFound
                && error.api_code().is_some_and(|code| codes.contains(&code)) =>
        {
            Ok(None)
        }
        result => result.map(Some),
    }
}

/// The codes of DBFS and the Files API.
pub(super) const FILE_NOT_FOUND: &[&str] = &["RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"];
