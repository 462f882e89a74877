//! Connectors with one mistake each.

use batch_connector::{BatchConnector, JobMeta};
use connector_core::{
    CallContext, Connector, CreateContext, Error, Phase, Resource, TaskType,
    secrecy::ExposeSecret as _,
};
use serde::{Deserialize, Serialize};

pub const POLL_ERROR: u8 = 0;
pub const POLL_ENDS_TASK: u8 = 1;
pub const RANDOM_KEY: u8 = 2;
pub const SAME_KEY_FOR_RETRIES: u8 = 3;
pub const NEVER_CANCELS: u8 = 4;
pub const HIDES_EFFECT: u8 = 5;
pub const SECRET_IN_META: u8 = 6;
pub const SECRET_IN_ERROR: u8 = 7;
pub const NO_REASON: u8 = 8;
pub const DELETE_ERROR: u8 = 9;
pub const CANCELS_OWN_ATTEMPT: u8 = 10;
pub const REUSES_CANCELLED_JOB: u8 = 11;

/// The batch connector with a mistake.
pub struct Broken<const MISTAKE: u8>(pub BatchConnector);

#[derive(Serialize, Deserialize)]
pub struct Meta {
    job: JobMeta,
    leaked: Option<String>,
}

fn token(cx: &CreateContext) -> String {
    cx.connection.secret("batch_token").unwrap().expose_secret().to_owned()
}

impl<const MISTAKE: u8> Connector for Broken<MISTAKE> {
    const NAME: &'static str = "Broken Connector";
    type ResourceMeta = Meta;

    fn task_types(&self) -> Vec<TaskType> {
        self.0.task_types()
    }

    async fn create(&self, mut cx: CreateContext) -> Result<Meta, Error> {
        let token = token(&cx);
        match MISTAKE {
            RANDOM_KEY => cx.output_prefix = format!("{:?}", std::time::Instant::now()),
            SAME_KEY_FOR_RETRIES => {
                cx.execution.task_execution_id.as_mut().unwrap().retry_attempt = 0;
                cx.output_prefix.clear();
            }
            REUSES_CANCELLED_JOB => cx.abandoned_creates = 0,
            _ => {}
        }
        let leaked = (MISTAKE == SECRET_IN_META).then(|| token.clone());
        match self.0.create(cx).await {
            Ok(job) => Ok(Meta { job, leaked }),
            Err(error) if MISTAKE == HIDES_EFFECT => Err(error.with_may_have_started(false)),
            Err(error) if MISTAKE == SECRET_IN_ERROR => {
                Err(error.with_detail(format!("sent with {token}")))
            }
            Err(error) => Err(error),
        }
    }

    async fn get(&self, cx: CallContext, meta: Meta) -> Result<Resource, Error> {
        let mut resource = self.0.get(cx, meta.job).await?;
        let is_failed_poll = resource.message.starts_with("no state");
        match MISTAKE {
            POLL_ERROR if is_failed_poll => return Err(Error::internal(resource.message)),
            POLL_ENDS_TASK if is_failed_poll => resource.phase = Phase::Failed,
            NO_REASON => resource.message.clear(),
            _ => {}
        }
        Ok(resource)
    }

    async fn delete(&self, cx: CallContext, meta: Meta) -> Result<(), Error> {
        match MISTAKE {
            NEVER_CANCELS => Ok(()),
            DELETE_ERROR => Err(Error::not_found("the job has ended")),
            _ => self.0.delete(cx, meta.job).await,
        }
    }

    async fn cancel_abandoned(&self, cx: CreateContext, meta: Option<Meta>) -> Result<(), Error> {
        match MISTAKE {
            NEVER_CANCELS => Ok(()),
            _ => self.0.cancel_abandoned(cx, meta.map(|meta| meta.job)).await,
        }
    }

    async fn cancel_earlier_attempts(&self, mut cx: CreateContext) -> Result<(), Error> {
        match MISTAKE {
            NEVER_CANCELS => Ok(()),
            CANCELS_OWN_ATTEMPT => {
                cx.execution.task_execution_id.as_mut().unwrap().retry_attempt += 1;
                self.0.cancel_earlier_attempts(cx).await
            }
            _ => self.0.cancel_earlier_attempts(cx).await,
        }
    }
}
