//! Logs that clusters deliver to S3, read from a real one. The test is `s3_logs` of `connector-server`.

use super::store::Store;
use crate::tools;
use anyhow::{Context as _, Result};
use xshell::{Shell, cmd};

/// Starts the store, and runs the test that needs it.
pub(crate) fn run(sh: &Shell) -> Result<String> {
    let minio = tools::minio(sh)?;
    let store = Store::start(sh, &minio)?;
    let tests =
        cmd!(sh, "cargo test --package connector-server --test it s3_logs -- --ignored --quiet");
    let tests =
        store.variables().into_iter().fold(tests, |tests, (name, value)| tests.env(name, value));
    tests.run().context("logs in S3 are not read as they should be")?;
    Ok("30,000 lines from minio".to_owned())
}
