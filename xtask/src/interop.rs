//! `cargo xtask interop`: the bindings and the running server against programs that others wrote.
//!
//! The quick part needs Python: Flyte's own bindings, SDK stubs and the Databricks plugin, from `PyPI`.
//! `--full` adds grpcurl and minio, which need Go, and Spark, which needs Java.

mod grpcurl;
mod programs;
mod python;
pub(crate) mod s3_logs;
mod spark;
mod store;
pub(crate) mod stores;
pub(crate) mod supply;
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
    /// Adds what needs more than Python: grpcurl (Go), and real Spark tasks (Java) with their files on a real S3 (Go).
    #[arg(long)]
    full: bool,
}

/// Runs the parts, and fails when a claim does not hold.
pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    report(&claims(sh, args.full)?)
}

/// The whole of it, for `nightly`.
pub(crate) fn run_full(sh: &Shell) -> Result<String> {
    let tally = claims(sh, true)?;
    report(&tally)?;
    Ok(tally.to_string())
}

fn report(tally: &Tally) -> Result<()> {
    println!("interop: {tally}");
    if tally.failed > 0 {
        bail!("{} of the claims above do not hold", tally.failed);
    }
    Ok(())
}

fn claims(sh: &Shell, full: bool) -> Result<Tally> {
    // What is missing is told before anything long is started.
    let spark = if full { Some(Spark::prepare(sh)?) } else { None };
    let python = Python::prepare(sh, full)?;
    let grpcurl = if full { Some(tools::grpcurl(sh)?) } else { None };
    let mut tally = Tally::default();

    println!("\n== our descriptors against the package's");
    let descriptor = sh.current_dir().join("crates/flyteidl2/src/gen/descriptor.bin");
    tally += python.run(sh, "descriptors.py", &[descriptor.to_string_lossy().as_ref()])?;

    println!("\n== submitted bodies through the models of Databricks' SDK");
    let snapshots = ["connector-server", "databricks-connector"].map(|name| {
        sh.current_dir().join(format!("crates/{name}/tests/it/snapshots")).display().to_string()
    });
    tally += python.run(sh, "submissions.py", &snapshots.each_ref().map(String::as_str))?;

    println!("\n== a Python client against the running server");
    let programs = Programs::start(sh, Setup::default())?;
    let requests = sh.current_dir().join("fixtures/requests");
    let driven = python.run(
        sh,
        "drive.py",
        &[
            &programs.server,
            &programs.workspace,
            requests.to_string_lossy().as_ref(),
            programs::TOKEN,
            &programs.pages,
        ],
    )?;
    if driven.failed > 0 {
        programs.show_logs(sh);
    }
    tally += driven;

    println!("\n== Databricks' own SDK against the fake workspace");
    let (client_id, secret) = programs::PRINCIPAL.split_once('=').unwrap_or_default();
    tally += python.run(
        sh,
        "auth.py",
        &[&programs.workspace, &programs.certificate, programs::TOKEN, client_id, secret],
    )?;

    println!("\n== SQL statements of Databricks' own SDK at the fake workspace");
    tally += python.run(
        sh,
        "statements.py",
        &[&programs.workspace, &programs.certificate, programs::TOKEN, programs::WAREHOUSE],
    )?;

    if let Some(grpcurl) = grpcurl {
        println!("\n== grpcurl against the running server");
        tally += grpcurl::run(sh, &grpcurl, &programs.server);
    }
    if spark.is_some() {
        println!(
            "\n== the examples of docs/tasks.md, serialised by the SDK, against the running server"
        );
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
