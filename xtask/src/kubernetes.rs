//! Secrets of namespaces and tokens of service accounts, with a real API server. The test is `kubernetes` of
//! `connector-server`, which starts the programs itself: it stops one of them on the way.

use crate::tools;
use anyhow::{Context as _, Result};
use xshell::{Shell, cmd};

/// Builds the programs, and runs the test that needs them.
pub(crate) fn run(sh: &Shell) -> Result<String> {
    let (etcd, kube_apiserver) = (tools::etcd(sh)?, tools::kube_apiserver(sh)?);
    cmd!(
        sh,
        "cargo test --package connector-server --features kubernetes --test it kubernetes:: -- --ignored --quiet"
    )
    .env("FLYTE_TEST_ETCD", etcd)
    .env("FLYTE_TEST_KUBE_APISERVER", kube_apiserver)
    .run()
    .context("the connector and a real API server do not get on")?;
    Ok("the documented Role, changes, an outage, and a token that the API server signed".to_owned())
}
