//! grpc-go with the service config of docs/deploy.md, while the server is killed and restarted.

use super::programs::{self, Programs, Setup};
use super::report;
use super::tally::Tally;
use crate::tools;
use anyhow::{Context as _, Result, bail};
use xshell::{Shell, cmd};

const SOURCES: &str = "xtask/interop/outages";

/// Builds the client and runs it against servers that it starts itself, with an emulated workspace.
pub(crate) fn run(sh: &Shell) -> Result<String> {
    let config = service_config(&sh.read_file("docs/deploy.md")?)?;
    let programs = Programs::start(sh, Setup::default())?;
    let folder = programs::folder(sh)?;
    let client = folder.join("outages");
    tools::go_build(sh, SOURCES, &client)?;
    let server = programs::built(&folder, "connector-server");
    let output = cmd!(sh, "{client} {server} {config}")
        .env("FLYTE_DATABRICKS_INSTANCE", &programs.workspace)
        .env("FLYTE_DATABRICKS_ACCESS_TOKEN", programs::TOKEN)
        .env("FLYTE_DATABRICKS_ALLOWED_HOSTS", &programs.workspace)
        .env("SSL_CERT_FILE", &programs.certificate)
        .env("NO_PROXY", "localhost,127.0.0.1")
        .read()?;
    println!("{output}");
    let mut tally = Tally::default();
    output.lines().for_each(|line| tally.count_line(line));
    if tally == Tally::default() {
        bail!("the client reported no checks");
    }
    report(&tally)?;
    Ok(tally.to_string())
}

/// Returns the service config that the page recommends.
fn service_config(page: &str) -> Result<String> {
    let (_, rest) = page
        .split_once("defaultServiceConfig: '")
        .context("docs/deploy.md has no `defaultServiceConfig`")?;
    let (config, _) = rest.split_once('\'').context("`defaultServiceConfig` has no end")?;
    Ok(config.to_owned())
}
