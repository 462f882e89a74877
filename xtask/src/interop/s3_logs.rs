//! Runs the `s3_logs` test of `connector-server`, which reads delivered logs from a real S3 (minio).

use super::minio::Minio;
use crate::tools;
use anyhow::{Context as _, Result};
use xshell::{Shell, cmd};

/// Starts minio and runs the test.
pub(crate) fn run(sh: &Shell) -> Result<String> {
    let minio = tools::minio(sh)?;
    let store = Minio::start(sh, &minio)?;
    let tests =
        cmd!(sh, "cargo test --package connector-server --test it s3_logs -- --ignored --quiet");
    let tests =
        store.variables().into_iter().fold(tests, |tests, (name, value)| tests.env(name, value));
    tests.run().context("the test of logs in S3 failed")?;
    Ok("30,000 lines from minio".to_owned())
}
