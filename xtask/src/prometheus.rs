//! Dashboard and alert rules with a real Prometheus. The test is `dashboards` of `connector-server`, which starts it.

use crate::tools;
use anyhow::{Context as _, Result};
use xshell::{Shell, cmd};

const RULES: &str = "deploy/dashboards/alerts.yml";
const TESTS_OF_RULES: &str = "deploy/dashboards/alerts.test.yml";

/// Builds the programs, checks and plays the rules, and runs the test in which Prometheus watches servers.
pub(crate) fn run(sh: &Shell) -> Result<String> {
    let [prometheus, promtool] = tools::prometheus(sh)?;
    cmd!(sh, "{promtool} check rules --lint=all --lint-fatal {RULES}").run()?;
    cmd!(sh, "{promtool} test rules {TESTS_OF_RULES}").run()?;
    cmd!(
        sh,
        "cargo test --package connector-server --test it dashboards::nightly -- --ignored --nocapture --quiet"
    )
    .env("FLYTE_TEST_PROMETHEUS", prometheus)
    .env("FLYTE_TEST_PROMTOOL", promtool)
    .run()
    .context("a real Prometheus finds something missing")?;
    Ok("promtool accepts metrics and rules, each alert fires and clears, every expression has values"
        .to_owned())
}
