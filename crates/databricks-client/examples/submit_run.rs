//! Submits a run, waits until it ends, and prints its output:
//! `cargo run -p databricks-client --example submit_run -- <host> <token> <body.json>`.
//!
//! The body is that of `runs/submit`. Other users of the machine can see a token on the command line: use a temporary
//! one.

use std::{error::Error, io::Write as _, time::Duration};

use databricks_client::{
    ClientPool, Credentials, Host,
    jobs::{Submission, WaitForEnd},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, token, body] = arguments.as_slice() else {
        return Err("usage: submit_run <host> <token> <body.json>".into());
    };
    let host = Host::parse(host)?;
    let body = serde_json::from_slice(&std::fs::read(body)?)?;
    let pool = ClientPool::builder().product("submit-run-example", "0.1.0").build()?;
    let credentials =
        Credentials::personal_access_token("the token on the command line", token.clone().into());
    let client = pool.client(&host, credentials);

    let submission = Submission::new(body).with_random_idempotency_token();
    let run_id = client.submit_run(&submission).await?;

    let mut out = std::io::stdout().lock();
    writeln!(out, "submitted run {run_id}")?;
    let run = client.wait_for_end(run_id, WaitForEnd::within(Duration::from_hours(2))).await?;
    if let Some(outcome) = run.outcome() {
        writeln!(out, "run {run_id} ended: {outcome:?}")?;
    }

    for task in run.latest_attempts() {
        let Some(task_run_id) = task.run_id else { continue };
        match client.get_run_output(task_run_id).await {
            Ok(output) => {
                for text in [output.logs, output.error].into_iter().flatten() {
                    writeln!(out, "{}: {text}", task.task_key)?;
                }
            }
            Err(error) => writeln!(out, "{}: no output: {error}", task.task_key)?,
        }
    }
    Ok(())
}
