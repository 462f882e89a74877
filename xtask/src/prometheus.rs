//! Tests the dashboard and the alert rules with a real Prometheus, which the `dashboards` test of `connector-server` starts.

use crate::tools;
use anyhow::{Context as _, Result};
use xshell::{Shell, cmd};

const RULES: &str = "deploy/dashboards/alerts.yml";
const RULE_TESTS: &str = "deploy/dashboards/alerts.test.yml";

/// Builds Prometheus and promtool, checks and tests the rules, and runs the test in which Prometheus scrapes servers.
pub(crate) fn run(sh: &Shell) -> Result<String> {
    let [prometheus, promtool] = tools::prometheus(sh)?;
    cmd!(sh, "{promtool} check rules --lint=all --lint-fatal {RULES}").run()?;
    cmd!(sh, "{promtool} test rules {RULE_TESTS}").run()?;
    cmd!(
        sh,
        "cargo test --package connector-server --test it dashboards::nightly -- --ignored --nocapture --quiet"
    )
    .env("FLYTE_TEST_PROMETHEUS", prometheus)
    .env("FLYTE_TEST_PROMTOOL", promtool)
    .run()
    .context("the test with a real Prometheus failed")?;
    Ok("promtool accepts metrics and rules, each alert fires and clears, every expression has values"
        .to_owned())
}
