//! The `demo` subcommand: a fake workspace, this server and a gRPC client in one process.
//!
//! [`scenario`] defines the three tasks, [`harness`] starts the servers, [`executor`] makes the calls of Flyte's
//! executor, [`event`] is one response, [`outcome`] compares the result with the expectation, [`render`] formats text
//! and [`output`] writes it. Nothing here is used outside the subcommand.

#![expect(
    rustdoc::private_intra_doc_links,
    reason = "the overview links the private modules of the demo"
)]

mod event;
mod executor;
mod harness;
mod outcome;
mod output;
mod render;
mod request;
mod scenario;

use connector_service::ShutdownSignals;

use self::{
    harness::{BoxError, Harness},
    outcome::Outcome,
    output::Output,
};

/// The flags of `demo`.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// Print one JSON object per response, and one for the summary.
    #[arg(long)]
    pub json: bool,
}

/// Runs the demo. It takes about five seconds and uses only the loopback interface.
///
/// # Errors
///
/// When a server does not start, a task does not end as expected, or SIGINT or SIGTERM interrupts it.
pub async fn run(args: DemoArgs) -> Result<(), BoxError> {
    let mut signals = ShutdownSignals::install()?;
    let harness = Harness::start().await?;
    let mut output = Output::new(args.json);
    let result = tokio::select! {
        result = run_scenarios(&harness, &mut output) => result,
        signal = signals.recv() => Err(format!("the demo was interrupted by {}", signal.name()).into()),
    };
    let stopped = harness.stop().await;
    result.and(stopped)
}

async fn run_scenarios(harness: &Harness, output: &mut Output) -> Result<(), BoxError> {
    output.paragraph(&format!(
        "This process runs a fake Databricks workspace (https://{}), the connector server (gRPC on {}) and a client \
         that makes the calls of Flyte's executor. No traffic leaves this machine. The links point to the fake \
         workspace, which serves no web pages.",
        harness.emulator.https_host(),
        harness.grpc_address,
    ))?;
    let scenarios = scenario::all();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (index, scenario) in scenarios.iter().enumerate() {
        let heading = format!("{} of {}: {}", index + 1, scenarios.len(), scenario.title);
        output.begin_scenario(&heading, scenario.introduction)?;
        outcomes.push(executor::run(scenario, harness, output).await?);
    }
    output.summary(&outcomes)?;
    let unexpected = outcomes.iter().filter(|outcome| !outcome.deviations().is_empty()).count();
    if unexpected > 0 {
        let total = outcomes.len();
        return Err(format!(
            "{unexpected} of {total} tasks did not end as expected; see the summary"
        )
        .into());
    }
    output.paragraph(
        "\nAll three tasks ended as expected. To serve a real workspace, set FLYTE_DATABRICKS_INSTANCE and \
         FLYTE_DATABRICKS_ACCESS_TOKEN, test them with `connector-server check`, and start `connector-server`.",
    )?;
    Ok(())
}
