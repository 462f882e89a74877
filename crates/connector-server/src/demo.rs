//! The demo: a fake workspace, this server and a real gRPC client in one process.
//!
//! Three tasks live their lives: one succeeds, one fails, one is cancelled. [`stage`] starts the parts, [`scenes`] says
//! what is sent and expected, [`scene`] plays the executor, [`display`] shows the answers, [`summary`] what came of
//! them.

#![expect(
    rustdoc::private_intra_doc_links,
    reason = "the guide leads a reader of the source through the modules"
)]

mod answer;
mod display;
mod live;
mod outcome;
mod requests;
mod scene;
mod scenes;
mod stage;
mod summary;
mod text;
mod wrap;

use connector_service::ShutdownSignals;

use self::{
    display::Display,
    scenes::Scene,
    stage::{BoxError, Stage},
    summary::Row,
};

/// How the demo shows itself.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// Print one line of JSON per answer, and one with the summary.
    #[arg(long)]
    pub json: bool,
}

/// Runs the demo, which takes some ten seconds and talks to nothing but itself.
///
/// # Errors
///
/// When a part of it does not start, when a task comes out other than expected, and when SIGINT or SIGTERM ends it
/// early.
pub async fn run(args: DemoArgs) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut signals = ShutdownSignals::install()?;
    let stage = Stage::start().await?;
    let scenes = scenes::all();
    let mut display = Display::new(args.json, &scenes);
    let played = tokio::select! {
        played = play(&scenes, &stage, &mut display) => {
            display.clear();
            played
        }
        signal = signals.recv() => {
            display.interrupted()?;
            Err(format!("the demo was ended by {} before its end", signal.name()).into())
        }
    };
    let stopped = stage.stop().await;
    played.and(stopped)
}

async fn play(scenes: &[Scene], stage: &Stage, display: &mut Display) -> Result<(), BoxError> {
    display.sentence(&format!(
        "This process holds three parts: a fake Databricks workspace at https://{}, the connector server with gRPC at \
         {}, and a client that calls the server as Flyte's executor does. Nothing leaves this machine; the links are \
         those of the fake workspace, which has no pages.",
        stage.emulator.https_host(),
        stage.grpc_address,
    ))?;
    let mut rows = Vec::new();
    for (at, scene) in scenes.iter().enumerate() {
        display.begin(at, scenes.len(), scene)?;
        let outcome = scene::play(scene, stage, display).await?;
        let deviations = outcome.deviations(scene.expected);
        display.over(&outcome, deviations.is_empty())?;
        rows.push(Row { task: scene.key, outcome, deviations });
    }
    display.summary(&rows)?;
    let differing = rows.iter().filter(|row| !row.deviations.is_empty()).count();
    if differing > 0 {
        return Err(format!(
            "{differing} of {} tasks came out other than expected; the summary says how",
            rows.len()
        )
        .into());
    }
    display.sentence(
        "\nAll three came out as expected. `connector-server --help` says how to serve a real workspace.",
    )?;
    Ok(())
}
