//! A minimal connector whose tasks sleep.
//!
//! `cargo run -p connector-core --example sleep_connector` registers it, creates one task and polls it until it succeeds.

use std::time::{Duration, SystemTime};

use connector_core::{
    CallContext, Connector, CreateContext, Error, Phase, Registry, Resource, TaskType,
    flyteidl2::{connector::CreateTaskRequest, core::TaskTemplate},
    value,
};
use serde::{Deserialize, Serialize};

/// Identifies a task between calls. Flyte stores it, so that any replica can answer.
#[derive(Serialize, Deserialize)]
struct Nap {
    ends_at: SystemTime,
}

struct SleepConnector;

impl Connector for SleepConnector {
    const NAME: &'static str = "Sleep Connector";
    type ResourceMeta = Nap;

    fn task_types(&self) -> Vec<TaskType> {
        vec![TaskType::new("sleep", 0)]
    }

    async fn create(&self, cx: CreateContext) -> Result<Nap, Error> {
        let custom = cx.custom()?;
        let milliseconds =
            custom.get("milliseconds").and_then(serde_json::Value::as_u64).ok_or_else(|| {
                Error::invalid_task("the task has no `milliseconds`")
                    .with_hint("set `milliseconds` to a whole number")
            })?;
        Ok(Nap { ends_at: SystemTime::now() + Duration::from_millis(milliseconds) })
    }

    async fn get(&self, _cx: CallContext, nap: Nap) -> Result<Resource, Error> {
        Ok(match nap.ends_at.duration_since(SystemTime::now()) {
            Ok(left) => {
                Resource::new(Phase::Running).with_message(format!("{} ms left", left.as_millis()))
            }
            Err(_) => Resource::new(Phase::Succeeded),
        })
    }

    async fn delete(&self, _cx: CallContext, _nap: Nap) -> Result<(), Error> {
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::builder().register(SleepConnector).build()?;
    let task_type = TaskType::new("sleep", 0);
    let connector = registry.find(&task_type).ok_or("not registered")?;

    let mut custom = serde_json::Map::new();
    custom.insert("milliseconds".to_owned(), 300.into());
    let template = TaskTemplate {
        r#type: task_type.name().to_owned(),
        custom: Some(value::struct_from_json(&custom)),
        ..TaskTemplate::default()
    };
    let request = CreateTaskRequest { template: Some(template), ..CreateTaskRequest::default() };
    let meta = connector.create(CreateContext::from(request)).await?;
    loop {
        let cx = CallContext::new(task_type.clone());
        let resource = connector.get(cx, &meta).await?;
        write_line(&format!("{:?} {}", resource.phase, resource.message))?;
        if resource.phase.is_terminal() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn write_line(line: &str) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{line}")
}
