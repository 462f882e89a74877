//! Runs the `kubernetes` tests of `connector-server` against a real API server: namespace Secrets and service account
//! tokens. The tests start and stop the programs themselves.

use crate::tools;
use anyhow::{Context as _, Result};
use xshell::{Shell, cmd};

/// Builds etcd and kube-apiserver, then runs the tests.
pub(crate) fn run(sh: &Shell) -> Result<String> {
    let (etcd, kube_apiserver) = (tools::etcd(sh)?, tools::kube_apiserver(sh)?);
    cmd!(
        sh,
        "cargo test --package connector-server --features kubernetes --test it kubernetes:: -- --ignored --quiet"
    )
    .env("FLYTE_TEST_ETCD", etcd)
    .env("FLYTE_TEST_KUBE_APISERVER", kube_apiserver)
    .run()
    .context("the tests against a real Kubernetes API server failed")?;
    Ok("documented Role, Secret changes, an outage, a signed service account token".to_owned())
}
