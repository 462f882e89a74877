//! The connector under the harness of `connector-core`, and proof that the harness finds what it looks for.

use std::net::SocketAddr;

use batch_connector::BatchConnector;
use connector_core::{
    Connection, Connector, CreateContext,
    secrecy::SecretString,
    testing::{Backend, Fault, FaultyCalls, JobEnd, Trap, Violations, check},
    value,
};
use flyteidl2::{connector::CreateTaskRequest, core::TaskTemplate};

use crate::{
    broken::{self, Broken},
    service::{Service, TOKEN},
};

/// The service, and how a connector for it is made.
struct Subject<F> {
    service: Service,
    address: SocketAddr,
    make: F,
}

impl<C: Connector, F: Fn(BatchConnector) -> C + Sync> Backend for Subject<F> {
    type Connector = C;

    fn connector(&self) -> C {
        (self.make)(BatchConnector::new(&format!("http://{}", self.address)).unwrap())
    }

    fn request(&self) -> CreateContext {
        let custom = serde_json::json!({"command": "true"});
        let mut cx = CreateContext::from(CreateTaskRequest {
            template: Some(TaskTemplate {
                r#type: "batch".to_owned(),
                custom: custom.as_object().map(value::struct_from_json),
                ..Default::default()
            }),
            ..Default::default()
        });
        cx.connection = Connection::new().with_secret("batch_token", SecretString::from(TOKEN));
        cx
    }

    fn set_fault(&self, fault: Option<Fault>, calls: FaultyCalls) {
        self.service.set_fault_of(fault, calls);
    }

    fn end_jobs(&self, end: JobEnd) {
        self.service.end_jobs(end);
    }

    fn forget_jobs(&self) {
        self.service.forget_jobs();
    }

    fn started(&self) -> usize {
        self.service.started()
    }

    fn active(&self) -> usize {
        self.service.active()
    }

    fn secrets(&self) -> Vec<String> {
        vec![TOKEN.to_owned()]
    }

    fn supports(&self, fault: Fault) -> bool {
        // The broken connectors are tried without the fault that takes real time.
        fault != Fault::Hang || std::any::type_name::<C>().ends_with("BatchConnector")
    }
}

async fn check_connector<C: Connector>(
    make: impl Fn(BatchConnector) -> C + Sync,
) -> Result<(), Violations> {
    let service = Service::default();
    let address = service.serve(0).await.unwrap();
    check(&Subject { service, address, make }).await
}

#[tokio::test]
async fn connector_falls_into_no_trap() {
    check_connector(|connector| connector).await.unwrap_or_else(|found| panic!("{found}"));
}

#[tokio::test]
async fn each_broken_connector_is_found_out() {
    macro_rules! finds {
        ($mistake:expr, $trap:expr) => {
            let found = check_connector(|connector| Broken::<{ $mistake }>(connector)).await;
            let found = found.expect_err("the harness found nothing");
            assert!(found.contains($trap), "{:?} is missing in: {found}", $trap);
        };
    }
    finds!(broken::POLL_ERROR, Trap::PollError);
    finds!(broken::POLL_ENDS_TASK, Trap::PollEndsTask);
    finds!(broken::RANDOM_KEY, Trap::DuplicateJob);
    finds!(broken::SAME_KEY_FOR_RETRIES, Trap::SharedAttempt);
    finds!(broken::NEVER_CANCELS, Trap::LostCancel);
    finds!(broken::NEVER_CANCELS, Trap::OrphanedJob);
    finds!(broken::NEVER_CANCELS, Trap::EarlierAttemptActive);
    finds!(broken::HIDES_EFFECT, Trap::UnreportedEffect);
    finds!(broken::SECRET_IN_META, Trap::SecretInMeta);
    finds!(broken::SECRET_IN_ERROR, Trap::SecretInAnswer);
    finds!(broken::NO_REASON, Trap::NoReason);
    finds!(broken::DELETE_ERROR, Trap::DeleteError);
    finds!(broken::CANCELS_OWN_ATTEMPT, Trap::OwnJobCancelled);
    finds!(broken::REUSES_CANCELLED_JOB, Trap::CancelledJobReused);
}
