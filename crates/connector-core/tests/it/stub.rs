//! A connector whose tasks run forever.

use connector_core::{
    CallContext, Connector, CreateContext, Error, Phase, Resource, TaskType,
    flyteidl2::connector::CreateTaskRequest,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) host: String,
    pub(crate) run_id: u64,
}

pub(crate) struct Endless<const N: u8>(pub(crate) Vec<TaskType>);

macro_rules! endless {
    ($($n:literal => $name:literal),*) => {$(
        impl Connector for Endless<$n> {
            const NAME: &'static str = $name;
            type ResourceMeta = Meta;

            fn task_types(&self) -> Vec<TaskType> {
                self.0.clone()
            }

            async fn create(&self, cx: CreateContext) -> Result<Meta, Error> {
                Ok(Meta { host: cx.output_prefix, run_id: 7 })
            }

            async fn get(&self, _cx: CallContext, meta: Meta) -> Result<Resource, Error> {
                Ok(Resource::new(Phase::Running).with_message(format!("{} {}", meta.host, meta.run_id)))
            }

            async fn delete(&self, _cx: CallContext, _meta: Meta) -> Result<(), Error> {
                Ok(())
            }
        }
    )*};
}

endless!(0 => "first", 1 => "second");

pub(crate) fn call() -> CallContext {
    CallContext::new(TaskType::new("a", 0))
}

pub(crate) fn create(output_prefix: &str) -> CreateContext {
    CreateContext::from(CreateTaskRequest {
        output_prefix: output_prefix.to_owned(),
        ..CreateTaskRequest::default()
    })
}
