//! The vocabulary of the workspace API: endpoints, error responses, and the log of requests.

pub(crate) mod endpoint;
pub(crate) mod error;
pub(crate) mod request_log;
