//! Flags of the HTTP port's pages.

/// Flags of the HTTP port's pages.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Observability")]
#[non_exhaustive]
pub struct ObservabilityArgs {
    /// Serve /status on the Prometheus port: the state of each connector, as JSON
    /// [env: `FLYTE_CONNECTOR_STATUS`].
    #[arg(long, global = true)]
    pub status: bool,

    /// Time that a shutdown waits for the next metrics scrape after the last call; no wait if nothing ever scraped.
    #[arg(long, value_name = "SECONDS", default_value_t = 15, global = true)]
    pub last_scrape: u32,
}
