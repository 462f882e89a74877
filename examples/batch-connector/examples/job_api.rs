//! Serves the batch service on 127.0.0.1:8100, to try the connector with. Jobs succeed at their third poll.

#[path = "../tests/it/service.rs"]
#[expect(dead_code, unreachable_pub, reason = "faults are for the tests")]
mod service;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    use std::io::Write as _;
    let service = service::Service::default();
    service.end_after(3);
    let address = service.serve(8100).await?;
    writeln!(std::io::stdout(), "job API on http://{address}, token {}", service::TOKEN)?;
    std::future::pending().await
}
