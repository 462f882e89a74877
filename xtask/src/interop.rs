//! `cargo xtask interop`: tests bindings, server and emulator against third-party programs.
//!
//! The default set needs Python: Flyte's bindings, SDK stubs and Databricks plugin, and Databricks' SDK, from `PyPI`.
//! `--full` adds grpcurl and minio (Go) and Spark (Java).

pub(crate) mod executed_runs;
mod grpcurl;
mod minio;
pub(crate) mod object_stores;
pub(crate) mod outages;
mod programs;
mod python;
pub(crate) mod s3_logs;
mod spark;
pub(crate) mod supply_chain;
mod tally;

use crate::tools;
use anyhow::{Result, bail};
use programs::{Programs, Setup};
use python::Python;
use spark::Spark;
use tally::Tally;
use xshell::Shell;

/// Flags of `interop`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Adds grpcurl (needs Go) and Spark tasks (need Java) with files in minio (needs Go).
    #[arg(long)]
    full: bool,
}

/// Runs the checks, and fails if one of them fails.
pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    report(&run_checks(sh, args.full)?)
}

/// Runs the full set for `nightly`.
pub(crate) fn run_full(sh: &Shell) -> Result<String> {
    let tally = run_checks(sh, true)?;
    report(&tally)?;
    Ok(tally.to_string())
}

fn report(tally: &Tally) -> Result<()> {
    println!("interop: {tally}");
    if tally.failed > 0 {
        bail!("{} checks failed", tally.failed);
    }
    Ok(())
}

fn run_checks(sh: &Shell, full: bool) -> Result<Tally> {
    // Report missing prerequisites before starting anything slow.
    let spark = if full { Some(Spark::prepare(sh)?) } else { None };
    let python = Python::prepare(sh, full)?;
    let grpcurl = if full { Some(tools::grpcurl(sh)?) } else { None };
    let mut tally = Tally::default();

    println!("\n== our descriptors against those of PyPI flyteidl2");
    let descriptor = sh.current_dir().join("crates/flyteidl2/src/gen/descriptor.bin");
    tally += python.run(sh, "descriptors.py", &[descriptor.to_string_lossy().as_ref()])?;

    println!("\n== submitted bodies through the models of Databricks' SDK");
    let snapshots = ["connector-server", "databricks-connector"].map(|name| {
        sh.current_dir().join(format!("crates/{name}/tests/it/snapshots")).display().to_string()
    });
    tally += python.run(sh, "submissions.py", &snapshots.each_ref().map(String::as_str))?;

    println!("\n== Flyte's Python stubs against the server");
    let programs = Programs::start(sh, Setup::default())?;
    let requests = sh.current_dir().join("fixtures/requests");
    let client = python.run(
        sh,
        "drive.py",
        &[
            &programs.server,
            &programs.workspace,
            requests.to_string_lossy().as_ref(),
            programs::TOKEN,
            &programs.metrics,
        ],
    )?;
    if client.failed > 0 {
        programs.show_logs(sh);
    }
    tally += client;

    println!("\n== Databricks' SDK against the emulator: authentication");
    let (client_id, secret) = programs::PRINCIPAL.split_once('=').unwrap_or_default();
    tally += python.run(
        sh,
        "auth.py",
        &[&programs.workspace, &programs.certificate, programs::TOKEN, client_id, secret],
    )?;

    println!("\n== Databricks' SDK against the emulator: SQL statements");
    tally += python.run(
        sh,
        "statements.py",
        &[&programs.workspace, &programs.certificate, programs::TOKEN, programs::WAREHOUSE],
    )?;

    if let Some(grpcurl) = grpcurl {
        println!("\n== grpcurl against the server");
        tally += grpcurl::run(sh, &grpcurl, &programs.server);
    }
    if spark.is_some() {
        println!("\n== the examples of docs/tasks.md, serialized by the SDK, against the server");
        let page = sh.current_dir().join("docs/tasks.md").display().to_string();
        tally += python.run(sh, "tasks_doc.py", &[&programs.server, &programs.workspace, &page])?;
    }
    drop(programs);

    if let Some(spark) = spark {
        tally += spark.run(sh, &python)?;
    }
    println!();
    Ok(tally)
}
