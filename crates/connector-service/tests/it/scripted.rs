//! A connector controlled by a test. The task's `config` selects the act, which is the behaviour
//! of `create`; the resource meta selects that of later calls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use connector_core::{
    CallContext, Connector, CreateContext, Error, ErrorKind, LogLine, LogPage, LogsRequest, Metric,
    MetricsRequest, Originator, Phase, Registry, Resource, Sample, Series, TaskType,
};
use flyteidl2::{
    connector::{CreateTaskRequest, TaskCategory},
    core::TaskTemplate,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore};

use crate::server::{Running, config, start};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    Ok,
    Panic,
    /// Adds a permit to `entered`, then waits for `go`.
    Wait,
    /// As `Wait` for many calls: counts them, and waits for permits of `release`.
    Hold,
    Exhausted,
    BadTask,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Meta {
    pub act: Act,
}

impl Meta {
    pub fn bytes(act: Act) -> Vec<u8> {
        serde_json::to_vec(&Self { act }).unwrap()
    }
}

/// The test's controls of the connector.
#[derive(Debug)]
pub struct Script {
    /// One permit per waiting call.
    pub entered: Semaphore,
    /// Releases one waiting call.
    pub go: Notify,
    /// Releases one held call per permit.
    pub release: Semaphore,
    /// Number of held calls.
    pub inside: AtomicUsize,
    /// Maximum number of held calls so far.
    pub most_inside: AtomicUsize,
    /// One permit per created task.
    pub created: Semaphore,
}

#[derive(Debug, Clone)]
pub struct Scripted(pub Arc<Script>);

impl Scripted {
    pub fn new() -> Self {
        Self(Arc::new(Script {
            entered: Semaphore::new(0),
            go: Notify::new(),
            release: Semaphore::new(0),
            inside: AtomicUsize::new(0),
            most_inside: AtomicUsize::new(0),
            created: Semaphore::new(0),
        }))
    }

    async fn play(&self, act: Act) -> Result<(), Error> {
        match act {
            Act::Ok => Ok(()),
            Act::Panic => panic!("scripted"),
            Act::Wait => {
                self.0.entered.add_permits(1);
                self.0.go.notified().await;
                Ok(())
            }
            Act::Hold => {
                let inside = self.0.inside.fetch_add(1, Ordering::SeqCst) + 1;
                self.0.most_inside.fetch_max(inside, Ordering::SeqCst);
                self.0.entered.add_permits(1);
                self.0.release.acquire().await.unwrap().forget();
                self.0.inside.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            }
            Act::Exhausted => Err(Error::new(ErrorKind::Exhausted, "too many calls")
                .with_retry_after(Some(std::time::Duration::from_secs(3)))),
            Act::BadTask => Err(Error::invalid_task("the task is bad").with_hint("fix it")),
        }
    }
}

impl Connector for Scripted {
    const NAME: &'static str = "Scripted Connector";
    type ResourceMeta = Meta;

    fn task_types(&self) -> Vec<TaskType> {
        vec![TaskType::new("scripted", 0), TaskType::new("scripted", 1)]
    }

    async fn create(&self, cx: CreateContext) -> Result<Meta, Error> {
        let act = cx.template.config.get("act").map_or("ok", String::as_str);
        self.play(serde_json::from_value(act.into()).unwrap()).await?;
        self.0.created.add_permits(1);
        Ok(Meta { act: Act::Ok })
    }

    async fn get(&self, cx: CallContext, meta: Meta) -> Result<Resource, Error> {
        self.play(meta.act).await?;
        let token = cx.connection.secret("token").is_some();
        let message = format!(
            "prefix {}, secret {token}, deadline {}",
            cx.output_prefix,
            cx.deadline.is_some()
        );
        Ok(Resource::new(Phase::Initializing)
            .with_message(message)
            .with_link("Console", "https://x.example/#1"))
    }

    async fn delete(&self, _cx: CallContext, meta: Meta) -> Result<(), Error> {
        self.play(meta.act).await
    }

    async fn get_metrics(
        &self,
        _cx: CallContext,
        meta: Meta,
        request: MetricsRequest,
    ) -> Result<Vec<Metric>, Error> {
        self.play(meta.act).await?;
        let samples =
            vec![Sample { at: request.start.unwrap_or(SystemTime::UNIX_EPOCH), value: 1.0 }];
        let metric = |name: String| Metric {
            name,
            series: vec![Series { samples: samples.clone(), ..Series::default() }],
        };
        Ok(request.names.into_iter().map(metric).collect())
    }

    async fn get_logs(
        &self,
        _cx: CallContext,
        meta: Meta,
        request: LogsRequest,
    ) -> Result<LogPage, Error> {
        self.play(meta.act).await?;
        let line = LogLine {
            timestamp: None,
            message: format!("{}\n", request.token),
            originator: Originator::User,
        };
        let lines = vec![line; usize::try_from(request.lines).unwrap()];
        Ok(LogPage { lines, next_token: (request.token != "last").then(|| "next".to_owned()) })
    }
}

pub fn category() -> TaskCategory {
    TaskCategory { name: "scripted".to_owned(), version: 0 }
}

pub fn create(act: Act) -> CreateTaskRequest {
    let act = serde_json::to_value(act).unwrap().as_str().unwrap().to_owned();
    let template = TaskTemplate {
        r#type: "scripted".to_owned(),
        config: [("act".to_owned(), act)].into(),
        ..TaskTemplate::default()
    };
    CreateTaskRequest { template: Some(template), ..CreateTaskRequest::default() }
}

/// Starts a server with a scripted connector only.
pub async fn start_scripted() -> (Running, Scripted) {
    let connector = Scripted::new();
    let registry = Registry::builder().register(connector.clone()).build().unwrap();
    (start(config(), registry).await, connector)
}
