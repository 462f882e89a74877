//! The command line: subcommands, and the flags of the Databricks connector.
//!
//! Flags are parsed here and validated in [`crate::config`]. Flags that any connector server has belong to
//! [`connector_service::args`], environment variables to [`crate::environment`].

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use connector_service::ServiceArgs;

#[cfg(feature = "demo")]
use crate::demo::DemoArgs;
use crate::environment;

/// Flyte connector server that runs tasks on Databricks.
///
/// Without a subcommand, the server starts. It accepts the flags of the Python server `c0`, and more.
#[derive(Debug, Clone, Parser)]
#[command(name = "connector-server", version, after_help = environment::help())]
// In `--modules a b demo`, `demo` is the subcommand, not a third module.
#[command(subcommand_precedence_over_arg = true)]
pub struct Args {
    /// The flags of `serve` and `check`.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// The subcommand; `None` means `serve`.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A subcommand.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Start the server (default).
    Serve,
    /// Test each of the connector's credentials at its workspace and print the results. Starts no run.
    Check,
    /// Run three tasks against a fake workspace inside this process. Needs no Databricks account.
    #[cfg(feature = "demo")]
    // The flags of `serve` are global, so clap would list them all, although `demo` ignores them.
    #[command(override_help = DEMO_HELP)]
    Demo(DemoArgs),
}

#[cfg(feature = "demo")]
const DEMO_HELP: &str = "\
Run three tasks against a fake workspace inside this process. Needs no Databricks account.

Usage: connector-server demo [OPTIONS]

Options:
      --json  Print one JSON object per response, and one for the summary
  -h, --help  Print help

Takes about five seconds. Ignores the flags and variables of `serve`.";

/// The flags of `serve` and `check`, accepted before or after the subcommand.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeArgs {
    /// Flags of any connector server.
    #[command(flatten)]
    pub service: ServiceArgs,

    /// Flags of the Databricks connector.
    #[command(flatten)]
    pub databricks: DatabricksArgs,
}

/// The flags of the Databricks connector.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Databricks")]
pub struct DatabricksArgs {
    /// TOML file with workspaces and their credentials [env: `FLYTE_DATABRICKS_WORKSPACES`].
    #[arg(long, value_name = "FILE", global = true)]
    pub workspaces: Option<PathBuf>,

    /// ID of a SQL warehouse in the workspace of `FLYTE_DATABRICKS_INSTANCE`, used to read CPU and memory of runs
    /// [env: `FLYTE_DATABRICKS_SQL_WAREHOUSE`].
    ///
    /// Each read runs a statement there and starts the warehouse if it is stopped. The file of --workspaces sets the
    /// warehouses of other workspaces.
    #[arg(long, value_name = "ID", global = true)]
    pub sql_warehouse: Option<String>,

    /// Whether Flyte retries a task whose own code failed or timed out.
    #[arg(long, value_name = "MODE", default_value = "retryable", global = true)]
    pub user_failures: UserFailures,

    /// Source of the script that starts Flyte's runtime on Databricks. Workloads that cannot use `git` use `workspace`.
    #[arg(long, value_name = "SOURCE", default_value = "git", global = true)]
    pub entrypoint: Entrypoint,

    /// Version of the Jobs API. With 2.2, requests fall back to 2.1 at gateways that do not support 2.2.
    #[arg(long, value_name = "VERSION", default_value = "2.2", global = true)]
    pub jobs_api: JobsApi,

    /// Do not tag new clusters with their Flyte run.
    #[arg(long, global = true)]
    pub no_cluster_tags: bool,

    /// Fail a successful task if the connector cannot check whether it wrote an error file, instead of warning.
    #[arg(long, global = true)]
    pub require_error_file: bool,

    /// Largest outputs that Flyte downloads, its `maxDownloadMBs` [env: `FLYTE_DATABRICKS_MAX_OUTPUT_BYTES`]
    /// [default: 2097152].
    ///
    /// Larger outputs of a notebook, query or job fail the task with the reason; those of a Flyte function are reported.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..), global = true)]
    pub max_output_bytes: Option<u32>,

    /// Fail a task (`FAILED`) once its credential or host has been rejected continuously for this long.
    #[arg(long, value_name = "SECONDS", default_value_t = 900, value_parser = seconds(), global = true)]
    pub refusal_patience: u32,

    /// Fail an attempt (`RETRYABLE_FAILED`) once its run has been missing from the workspace for this long.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = seconds(), global = true)]
    pub vanished_patience: u32,

    /// Fail a task (`FAILED`) once its run could not be read for any other reason for this long; 0 for never.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = seconds(), global = true)]
    pub unreachable_patience: u32,

    /// Sustained read requests per second, for each workspace and credential of this replica. Allows bursts of twice
    /// as many.
    ///
    /// A workspace is reported to allow 100 reads per second for all clients together. After a 429 response the rate is
    /// halved; it recovers by a twentieth of its value per second.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = positive(), global = true)]
    pub reads_per_second: u32,

    /// Sustained write requests (submit, cancel, upload) per second, for each workspace and credential of this replica.
    /// Allows bursts of twice as many.
    ///
    /// A workspace is reported to allow 35 submissions per second.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = positive(), global = true)]
    pub writes_per_second: u32,

    /// Concurrent requests for each workspace and credential. A quarter is reserved for reads, a quarter for writes.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive(), global = true)]
    pub calls_at_once: u32,
}

/// Whether Flyte retries a task whose own code failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UserFailures {
    /// Flyte retries the task if it has retries left (`RETRYABLE_FAILED`).
    Retryable,
    /// Flyte does not retry the task (`FAILED`).
    Permanent,
}

/// The source of the script that starts Flyte's runtime on Databricks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Entrypoint {
    /// Databricks checks it out from Flyte's GitHub repository, as with the Python plugin.
    Git,
    /// The connector uploads it to the home folder of the user who submits the run; needs no GitHub access.
    Workspace,
}

/// A version of the Jobs API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum JobsApi {
    /// Current version.
    #[value(name = "2.2")]
    V2_2,
    /// Previous version, for older workspaces and gateways.
    #[value(name = "2.1")]
    V2_1,
}

/// From one to a million.
fn positive() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1_000_000)
}

/// At most three years.
fn seconds() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(0..=100_000_000)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Args {
        Args::try_parse_from(line.split_whitespace()).unwrap()
    }

    #[test]
    fn command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[cfg(feature = "demo")]
    #[test]
    fn demo_help_lists_exactly_its_own_flags() {
        let command = <DemoArgs as clap::Args>::augment_args(clap::Command::new("demo"));
        let own = command.get_arguments().filter_map(clap::Arg::get_long);
        let mut own: Vec<_> = own.chain(["help"]).collect();
        let mut shown: Vec<_> =
            DEMO_HELP.split_whitespace().filter_map(|word| word.strip_prefix("--")).collect();
        own.sort_unstable();
        shown.sort_unstable();
        assert_eq!(shown, own);
    }

    #[test]
    fn flags_of_c0_are_accepted() {
        let plain = parse("c0").serve.service;
        assert_eq!((plain.port, plain.prometheus_port, plain.timeout), (8000, 9090, None));
        assert!(parse("c0").command.is_none());

        let full =
            parse("c0 --port 8080 --prometheus_port 9092 --worker 10 --timeout 5 --modules m1 m2");
        let full = full.serve.service;
        assert_eq!((full.port, full.prometheus_port, full.timeout), (8080, 9092, Some(5)));
        assert_eq!(full.modules, ["m1", "m2"]);

        let repeated = parse("c0 --modules m1 --modules m2 --prometheus-port 1").serve.service;
        assert_eq!(repeated.modules, ["m1", "m2"]);
        assert_eq!(repeated.prometheus_port, 1);
    }

    #[test]
    fn modules_do_not_swallow_a_subcommand_or_a_flag() {
        let args = parse("c0 --modules m1 m2 serve --port 7");
        assert!(matches!(args.command, Some(Command::Serve)));
        assert_eq!(args.serve.service.modules, ["m1", "m2"]);
        assert_eq!(args.serve.service.port, 7);
        assert_eq!(parse("c0 --modules m1 m2 --port 7").serve.service.modules, ["m1", "m2"]);
    }

    #[test]
    fn flags_are_accepted_before_and_after_the_subcommand() {
        for line in ["x --port 7 serve", "x serve --port 7", "x --port 7 serve --host localhost"] {
            assert_eq!(parse(line).serve.service.port, 7, "{line}");
        }
    }

    #[test]
    fn zero_is_rejected_where_it_would_block_all_requests() {
        for line in ["x --reads-per-second 0", "x --calls-at-once 0", "x --call-timeout 0"] {
            assert!(Args::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn unsupported_version_of_the_jobs_api_is_rejected() {
        assert!(Args::try_parse_from(["x", "--jobs-api", "2.0"]).is_err());
    }
}
