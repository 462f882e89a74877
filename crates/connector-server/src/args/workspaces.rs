//! Flags of the calls to Databricks.

/// The flags of the calls to Databricks.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Calls to Databricks, of this process alone")]
pub struct WorkspaceArgs {
    /// Reads a second for each workspace and credential, in the long run; twice as many at once after a pause.
    ///
    /// A workspace is said to take 100 from all its callers together. After an answer of 429 the rate is halved, and
    /// grows back in ten seconds.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = positive(), global = true)]
    pub reads_per_second: u32,

    /// Submissions, cancels and uploads a second, likewise. A workspace is said to take 35 submissions.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = positive(), global = true)]
    pub writes_per_second: u32,

    /// Calls under way for each workspace and credential; a quarter is kept for reads, a quarter for writes.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive(), global = true)]
    pub calls_at_once: u32,

    /// How long a refused token or host is borne, without a break, before the task is FAILED.
    #[arg(long, value_name = "SECONDS", default_value_t = 900, value_parser = seconds(), global = true)]
    pub refusal_patience: u32,

    /// How long a run that the workspace does not know is borne before the attempt is `RETRYABLE_FAILED`.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = seconds(), global = true)]
    pub vanished_patience: u32,

    /// How long a run that cannot be read for any other cause is borne before the task is FAILED; 0 for ever.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = seconds(), global = true)]
    pub unreachable_patience: u32,

    /// The id of a SQL warehouse in the workspace of `FLYTE_DATABRICKS_INSTANCE`, to read CPU and memory of runs with.
    ///
    /// Every reading runs a statement there, and starts the warehouse if it has stopped. The file of workspaces names
    /// the warehouses of others. Wins over `FLYTE_DATABRICKS_SQL_WAREHOUSE`.
    #[arg(long, value_name = "ID", global = true)]
    pub sql_warehouse: Option<String>,
}

/// From one to a million.
fn positive() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1_000_000)
}

/// At most three years.
fn seconds() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(0..=100_000_000)
}
