//! What the executor plays. Each scenario is a run without a history.

use super::{Backend, Fault, FaultyCalls, JobEnd, Trap, executor::Executor};
use crate::{ConnectorHandle, CreateContext, Phase};

pub(super) async fn play_all<B: Backend>(executor: &mut Executor<'_, B>) {
    success(executor).await;
    failure(executor).await;
    repeated_create(executor).await;
    concurrent_creates(executor).await;
    later_attempt(executor).await;
    earlier_attempt_still_active(executor).await;
    abandoned_with_meta(executor).await;
    cancel(executor).await;
    forgotten_job(executor).await;
    for fault in Fault::TRANSIENT.into_iter().filter(|fault| executor.backend.supports(*fault)) {
        poll_under(executor, fault).await;
        delete_under(executor, fault).await;
        create_under(executor, fault, FaultyCalls::All).await;
    }
    for fault in Fault::OF_A_CALL.into_iter().filter(|fault| executor.backend.supports(*fault)) {
        create_under(executor, fault, FaultyCalls::Start).await;
    }
    if executor.backend.supports(Fault::LostAnswer) {
        lost_answer_then_abandoned(executor, FaultyCalls::All).await;
        lost_answer_then_abandoned(executor, FaultyCalls::Start).await;
    }
}

/// Starts a job as the first attempt of a new run. None after a violation.
async fn start<B: Backend>(
    executor: &mut Executor<'_, B>,
    scenario: String,
) -> Option<(ConnectorHandle, CreateContext, Vec<u8>)> {
    executor.begin(scenario);
    let replica = executor.replica()?;
    let cx = executor.request(0);
    let meta = executor.create_ok(&replica, &cx).await?;
    if executor.started() != 1 || executor.backend.active() != 1 {
        let (started, active) = (executor.started(), executor.backend.active());
        let observed = format!("a create started {started} job(s), of which {active} are active");
        executor.report(Trap::BasicCall, observed);
        return None;
    }
    Some((replica, cx, meta))
}

/// Reports a phase that is not terminal, without a fault.
async fn poll_active<B: Backend>(
    executor: &mut Executor<'_, B>,
    replica: &ConnectorHandle,
    cx: &CreateContext,
    meta: &[u8],
) -> Option<Phase> {
    match executor.get(replica, cx, meta).await {
        Ok(resource) if resource.phase.is_terminal() => {
            let observed = format!("{:?} for an active job", resource.phase);
            executor.report(Trap::WrongEnd, observed);
            None
        }
        Ok(resource) => Some(resource.phase),
        Err(error) => {
            executor.report(Trap::MetaNotPortable, format!("get of an active job failed: {error}"));
            None
        }
    }
}

async fn success<B: Backend>(executor: &mut Executor<'_, B>) {
    let Some((_, cx, meta)) = start(executor, "success".to_owned()).await else { return };
    let Some(other) = executor.replica() else { return };
    if poll_active(executor, &other, &cx, &meta).await.is_none() {
        return;
    }
    executor.backend.end_jobs(JobEnd::Success);
    match executor.get(&other, &cx, &meta).await {
        Ok(resource) if resource.phase == Phase::Succeeded => {}
        answer => executor.report(Trap::WrongEnd, format!("{answer:?} for a job that succeeded")),
    }
    for of in ["an ended job", "a deleted job"] {
        executor.delete_ok(&other, &cx, &meta, of).await;
    }
}

async fn failure<B: Backend>(executor: &mut Executor<'_, B>) {
    let Some((replica, cx, meta)) = start(executor, "failure".to_owned()).await else { return };
    executor.backend.end_jobs(JobEnd::Failure);
    match executor.get(&replica, &cx, &meta).await {
        Ok(resource) if matches!(resource.phase, Phase::Failed | Phase::RetryableFailed) => {
            if resource.message.trim().is_empty() {
                executor.report(Trap::NoReason, "the message of a failed job is empty");
            }
        }
        answer => executor.report(Trap::WrongEnd, format!("{answer:?} for a job that failed")),
    }
}

async fn repeated_create<B: Backend>(executor: &mut Executor<'_, B>) {
    let scenario = "the same create again, at the same and another replica";
    let Some((replica, cx, _)) = start(executor, scenario.to_owned()).await else { return };
    let Some(other) = executor.replica() else { return };
    for replica in [replica, other] {
        executor.create_ok(&replica, &cx).await;
    }
    if executor.started() != 1 {
        let observed = format!("three equal requests started {} jobs", executor.started());
        executor.report(Trap::DuplicateJob, observed);
    }
    executor.backend.end_jobs(JobEnd::Success);
    let Some(other) = executor.replica() else { return };
    executor.create_ok(&other, &cx).await;
    if executor.started() != 1 {
        let observed = "an equal request after the end of the job started another";
        executor.report(Trap::DuplicateJob, observed);
    }
}

/// A service without idempotency keys cannot prevent a second start; then one of the jobs must be cancelled.
async fn concurrent_creates<B: Backend>(executor: &mut Executor<'_, B>) {
    executor.begin("equal requests at two replicas at the same time");
    let (Some(replica), Some(other)) = (executor.replica(), executor.replica()) else { return };
    let cx = executor.request(0);
    executor.create_concurrently([&replica, &other], &cx).await;
    let active = executor.backend.active();
    if active != 1 {
        executor.report(Trap::DuplicateJob, format!("{active} jobs are active"));
    }
}

async fn later_attempt<B: Backend>(executor: &mut Executor<'_, B>) {
    let Some((replica, _, first)) = start(executor, "a retry after a failure".to_owned()).await
    else {
        return;
    };
    executor.backend.end_jobs(JobEnd::Failure);
    let cx = executor.request(1);
    let Some(second) = executor.create_ok(&replica, &cx).await else { return };
    if executor.started() != 2 || first == second {
        executor.report(Trap::SharedAttempt, "the second attempt started no job");
    }
}

async fn earlier_attempt_still_active<B: Backend>(executor: &mut Executor<'_, B>) {
    let scenario = "a retry while the first attempt is active";
    let Some(_) = start(executor, scenario.to_owned()).await else { return };
    let Some(other) = executor.replica() else { return };
    let cx = executor.request(1);
    if executor.create_ok(&other, &cx).await.is_none() {
        return;
    }
    if let Err(error) = other.cancel_earlier_attempts(cx).await {
        executor.report(Trap::EarlierAttemptActive, format!("cancelling it failed: {error}"));
    } else if executor.backend.active() == 0 {
        executor.report(Trap::OwnJobCancelled, "the job of the second attempt is not active");
    } else if executor.backend.active() != 1 {
        let observed = format!("{} jobs of one task are active", executor.backend.active());
        executor.report(Trap::EarlierAttemptActive, observed);
    }
}

async fn abandoned_with_meta<B: Backend>(executor: &mut Executor<'_, B>) {
    let scenario = "a creation that the caller gave up";
    let Some((replica, cx, meta)) = start(executor, scenario.to_owned()).await else { return };
    if let Err(error) = replica.cancel_abandoned(cx.clone(), Some(&meta)).await {
        executor.report(Trap::OrphanedJob, format!("cancelling it failed: {error}"));
        return;
    }
    if executor.backend.active() != 0 {
        executor.report(Trap::OrphanedJob, "the job is still active");
        return;
    }
    let Some(other) = executor.replica() else { return };
    let cx = cx.with_abandoned_creates(1);
    if executor.create_ok(&other, &cx).await.is_some() && executor.backend.active() != 1 {
        let observed = "the request that Flyte sent again started no job";
        executor.report(Trap::CancelledJobReused, observed);
    }
}

async fn cancel<B: Backend>(executor: &mut Executor<'_, B>) {
    let Some((_, cx, meta)) = start(executor, "cancel".to_owned()).await else { return };
    let Some(other) = executor.replica() else { return };
    executor.delete_ok(&other, &cx, &meta, "an active job").await;
    if executor.backend.active() != 0 {
        executor.report(Trap::LostCancel, "the job is active after a successful delete");
    }
}

async fn forgotten_job<B: Backend>(executor: &mut Executor<'_, B>) {
    let scenario = "a job that the service no longer knows";
    let Some((replica, cx, meta)) = start(executor, scenario.to_owned()).await else { return };
    executor.backend.end_jobs(JobEnd::Failure);
    executor.backend.forget_jobs();
    match executor.get(&replica, &cx, &meta).await {
        Err(error) => executor.report(Trap::PollError, error.to_string()),
        Ok(resource) if resource.phase == Phase::Succeeded => {
            executor.report(Trap::WrongEnd, "Succeeded for a job that is not known");
        }
        Ok(_) => {}
    }
    executor.delete_ok(&replica, &cx, &meta, "an unknown job").await;
}

async fn poll_under<B: Backend>(executor: &mut Executor<'_, B>, fault: Fault) {
    let scenario = format!("a poll under {fault:?}");
    let Some((replica, cx, meta)) = start(executor, scenario).await else { return };
    let Some(phase) = poll_active(executor, &replica, &cx, &meta).await else { return };
    let Some(other) = executor.replica() else { return };
    executor.set_fault(Some(fault));
    for (replica, knows_phase) in [(&replica, true), (&other, false)] {
        match executor.get(replica, &cx, &meta).await {
            Err(error) => executor.report(Trap::PollError, error.to_string()),
            Ok(resource) if resource.phase.is_terminal() => {
                executor.report(Trap::PollEndsTask, format!("{:?}", resource.phase));
            }
            Ok(resource) if knows_phase && resource.phase != phase => {
                let observed = format!("{:?} after {phase:?}", resource.phase);
                executor.report(Trap::PhaseForgotten, observed);
            }
            Ok(_) => {}
        }
    }
    executor.set_fault(None);
    poll_active(executor, &replica, &cx, &meta).await;
}

async fn delete_under<B: Backend>(executor: &mut Executor<'_, B>, fault: Fault) {
    let scenario = format!("a delete under {fault:?}");
    let Some((replica, cx, meta)) = start(executor, scenario).await else { return };
    executor.set_fault(Some(fault));
    let deleted = executor.delete(&replica, &cx, &meta).await.is_ok();
    executor.set_fault(None);
    if deleted && executor.backend.active() != 0 {
        executor.report(Trap::LostCancel, "the delete succeeded and the job is active");
    }
    executor.delete_ok(&replica, &cx, &meta, "a job after the fault had passed").await;
    if executor.backend.active() != 0 {
        executor.report(Trap::LostCancel, "the job is active after the second delete");
    }
}

/// The create fails, or it starts the job; the request that Flyte sends again must not start another.
async fn create_under<B: Backend>(
    executor: &mut Executor<'_, B>,
    fault: Fault,
    calls: FaultyCalls,
) {
    executor.begin(format!("a create under {fault:?} of calls: {calls:?}"));
    let Some(replica) = executor.replica() else { return };
    let cx = executor.request(0);
    executor.set_fault_of(Some(fault), calls);
    let answer = executor.create(&replica, &cx).await;
    executor.set_fault(None);
    if calls == FaultyCalls::Start && fault == Fault::LostAnswer && executor.started() == 0 {
        executor.report(Trap::BasicCall, "no job was started, although only the answer was lost");
    }
    if let Err(error) = &answer
        && executor.started() > 0
        && !error.may_have_started()
    {
        executor.report(Trap::UnreportedEffect, format!("the job was started: {error}"));
    }
    let Some(other) = executor.replica() else { return };
    executor.create_ok(&other, &cx).await;
    if executor.started() != 1 {
        let observed = format!("the repeated request ended with {} jobs", executor.started());
        executor.report(Trap::DuplicateJob, observed);
    }
}

async fn lost_answer_then_abandoned<B: Backend>(
    executor: &mut Executor<'_, B>,
    calls: FaultyCalls,
) {
    executor.begin(format!(
        "a creation whose answer was lost, and that the caller gave up, calls: {calls:?}"
    ));
    let Some(replica) = executor.replica() else { return };
    let cx = executor.request(0);
    executor.set_fault_of(Some(Fault::LostAnswer), calls);
    let answer = executor.create(&replica, &cx).await;
    executor.set_fault(None);
    if let Err(error) = replica.cancel_abandoned(cx, answer.ok().as_deref()).await {
        executor.report(Trap::OrphanedJob, format!("cancelling it failed: {error}"));
    } else if executor.backend.active() != 0 {
        executor.report(Trap::OrphanedJob, "the job is still active");
    }
}
