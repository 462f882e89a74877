//! Flags and the variable of the HTTP port's pages.

use super::Variable;

pub(crate) const STATUS: &str = "FLYTE_CONNECTOR_STATUS";

pub(super) const VARIABLE: Variable =
    Variable { name: STATUS, help: "true serves /status; --status wins [default: false]" };

/// The flags of the HTTP port's pages.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "What is seen of it")]
pub struct SightArgs {
    /// Serve /status on the Prometheus port: workspaces, budgets, runs and the last errors, as JSON
    /// [env: `FLYTE_CONNECTOR_STATUS`].
    #[arg(long, global = true)]
    pub status: bool,

    /// How long a stop waits for the next scrape once the last call is answered; not at all if nobody scrapes.
    #[arg(long, value_name = "SECONDS", default_value_t = 15, global = true)]
    pub last_scrape: u32,
}
