//! Real requests for unit tests.

use std::{fs, path::Path};

use connector_core::CreateContext;
use flyteidl2::connector::CreateTaskRequest;
use prost::Message;

/// The request of that name from `fixtures/requests`.
pub(crate) fn request(name: &str) -> CreateContext {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../../fixtures/requests/{name}.create.pb"));
    CreateTaskRequest::decode(fs::read(path).unwrap().as_slice()).unwrap().into()
}
