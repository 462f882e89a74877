//! Calls the connector as Flyte's executor does, and inspects every answer.

use std::{
    error::Error as StdError,
    future::poll_fn,
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use flyteidl2::core::{
    NodeExecutionIdentifier, TaskExecutionIdentifier, WorkflowExecutionIdentifier,
};
use secrecy::ExposeSecret as _;

use super::{Backend, Fault, FaultyCalls, JobEnd, Trap, Violation, Violations};
use crate::{CallContext, ConnectorHandle, CreateContext, Error, Registry, Resource};

/// How long a call without a fault may take: what Flyte allows by default.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call to a service that hangs may take.
const SHORT_TIMEOUT: Duration = Duration::from_secs(1);
/// How far a call may overrun its deadline.
const TOLERANCE: Duration = Duration::from_secs(3);

/// A fresh run, and what has been observed so far.
pub(super) struct Executor<'a, B> {
    pub(super) backend: &'a B,
    violations: Vec<Violation>,
    secrets: Vec<String>,
    scenario: String,
    runs: usize,
    started_before: usize,
    fault: Option<Fault>,
}

impl<'a, B: Backend> Executor<'a, B> {
    pub(super) fn new(backend: &'a B) -> Self {
        let mut secrets = backend.secrets();
        let request = backend.request();
        secrets.extend(
            request.connection.secrets().map(|(_, value)| value.expose_secret().to_owned()),
        );
        secrets.retain(|secret| !secret.is_empty());
        Self {
            backend,
            violations: Vec::new(),
            secrets,
            scenario: String::new(),
            runs: 0,
            started_before: 0,
            fault: None,
        }
    }

    pub(super) fn finish(self) -> Result<(), Violations> {
        self.backend.set_fault(None, FaultyCalls::All);
        if self.violations.is_empty() { Ok(()) } else { Err(Violations(self.violations)) }
    }

    /// Begins a scenario: a healthy service without active jobs, and a run that no request has named before.
    pub(super) fn begin(&mut self, scenario: impl Into<String>) {
        self.set_fault(None);
        self.backend.end_jobs(JobEnd::Success);
        self.scenario = scenario.into();
        self.runs += 1;
        self.started_before = self.backend.started();
    }

    pub(super) fn set_fault(&mut self, fault: Option<Fault>) {
        self.set_fault_of(fault, FaultyCalls::All);
    }

    pub(super) fn set_fault_of(&mut self, fault: Option<Fault>, calls: FaultyCalls) {
        self.fault = fault;
        self.backend.set_fault(fault, calls);
    }

    /// Jobs started in this scenario.
    pub(super) fn started(&self) -> usize {
        self.backend.started().saturating_sub(self.started_before)
    }

    pub(super) fn report(&mut self, trap: Trap, observed: impl Into<String>) {
        let scenario = self.scenario.clone();
        self.violations.push(Violation { trap, scenario, observed: observed.into() });
    }

    /// One more replica. Its registry holds this connector alone.
    pub(super) fn replica(&mut self) -> Option<ConnectorHandle> {
        match Registry::builder().register(self.backend.connector()).build() {
            Ok(registry) => registry.connectors().first().cloned(),
            Err(error) => {
                self.report(
                    Trap::BasicCall,
                    format!("the connector cannot be registered: {error}"),
                );
                None
            }
        }
    }

    /// The request for an attempt of this scenario's run.
    pub(super) fn request(&self, attempt: u32) -> CreateContext {
        let run = format!("conformance-{}", self.runs);
        let mut cx = self.backend.request();
        cx.output_prefix = format!("s3://conformance/{run}/{attempt}");
        cx.deadline = None;
        let variables = &mut cx.execution.environment_variables;
        variables.insert("RUN_NAME".to_owned(), run.clone());
        variables.insert("ACTION_NAME".to_owned(), "a0".to_owned());
        cx.execution.task_execution_id = Some(TaskExecutionIdentifier {
            task_id: cx.template.id.clone(),
            node_execution_id: Some(NodeExecutionIdentifier {
                node_id: "n0".to_owned(),
                execution_id: Some(WorkflowExecutionIdentifier {
                    project: "conformance".to_owned(),
                    domain: "development".to_owned(),
                    name: run,
                    org: String::new(),
                }),
            }),
            retry_attempt: attempt,
        });
        cx
    }

    pub(super) async fn create(
        &mut self,
        replica: &ConnectorHandle,
        cx: &CreateContext,
    ) -> Result<Vec<u8>, Error> {
        let (deadline, mut cx) = (self.deadline(), cx.clone());
        cx.deadline = Some(deadline);
        let answer = replica.create(cx).await;
        self.inspect("create", deadline, answer.as_ref().err());
        if let Ok(meta) = &answer
            && self.has_secret(&String::from_utf8_lossy(meta))
        {
            self.report(Trap::SecretInMeta, "the resource meta of a create contains a secret");
        }
        answer
    }

    /// Sends the same request to two replicas at the same time.
    pub(super) async fn create_concurrently(
        &mut self,
        replicas: [&ConnectorHandle; 2],
        cx: &CreateContext,
    ) {
        let deadline = self.deadline();
        let mut cx = cx.clone();
        cx.deadline = Some(deadline);
        let [first, second] = replicas.map(|replica| Box::pin(replica.create(cx.clone())));
        for answer in both(first, second).await {
            self.inspect("create", deadline, answer.as_ref().err());
            if let Err(error) = answer {
                self.report(Trap::BasicCall, format!("create failed: {error}"));
            }
        }
    }

    /// As [`Self::create`] where nothing is wrong: an error is a violation.
    pub(super) async fn create_ok(
        &mut self,
        replica: &ConnectorHandle,
        cx: &CreateContext,
    ) -> Option<Vec<u8>> {
        let answer = self.create(replica, cx).await;
        answer.map_err(|error| self.report(Trap::BasicCall, format!("create failed: {error}"))).ok()
    }

    pub(super) async fn get(
        &mut self,
        replica: &ConnectorHandle,
        cx: &CreateContext,
        meta: &[u8],
    ) -> Result<Resource, Error> {
        let (deadline, cx) = self.later_call(cx);
        let answer = replica.get(cx, meta).await;
        self.inspect("get", deadline, answer.as_ref().err());
        if let Ok(resource) = &answer
            && self.has_secret(&format!("{resource:?}"))
        {
            self.report(Trap::SecretInAnswer, "the answer of a get contains a secret");
        }
        answer
    }

    pub(super) async fn delete(
        &mut self,
        replica: &ConnectorHandle,
        cx: &CreateContext,
        meta: &[u8],
    ) -> Result<(), Error> {
        let (deadline, cx) = self.later_call(cx);
        let answer = replica.delete(cx, meta).await;
        self.inspect("delete", deadline, answer.as_ref().err());
        answer
    }

    /// A delete that must succeed in any state of the job.
    pub(super) async fn delete_ok(
        &mut self,
        replica: &ConnectorHandle,
        cx: &CreateContext,
        meta: &[u8],
        of: &str,
    ) {
        if let Err(error) = self.delete(replica, cx, meta).await {
            self.report(Trap::DeleteError, format!("delete of {of} failed: {error}"));
        }
    }

    fn later_call(&self, cx: &CreateContext) -> (Instant, CallContext) {
        let deadline = self.deadline();
        let mut cx = CallContext::from(cx.clone());
        cx.deadline = Some(deadline);
        (deadline, cx)
    }

    fn deadline(&self) -> Instant {
        let timeout = match self.fault {
            None => TIMEOUT,
            Some(Fault::Hang) => self.backend.timeout_under_fault().min(SHORT_TIMEOUT),
            Some(_) => self.backend.timeout_under_fault(),
        };
        Instant::now() + timeout
    }

    fn inspect(&mut self, call: &str, deadline: Instant, error: Option<&Error>) {
        let overrun = Instant::now().saturating_duration_since(deadline);
        if overrun > TOLERANCE {
            let seconds = overrun.as_secs();
            self.report(Trap::IgnoredDeadline, format!("{call} ran {seconds} s past its deadline"));
        }
        if let Some(error) = error
            && self.has_secret(&everything_said(error))
        {
            self.report(Trap::SecretInAnswer, format!("the error of a {call} contains a secret"));
        }
    }

    fn has_secret(&self, text: &str) -> bool {
        self.secrets.iter().any(|secret| text.contains(secret.as_str()))
    }
}

/// Polls two futures until both are ready.
async fn both<F: Future + Unpin>(mut first: F, mut second: F) -> [F::Output; 2] {
    let (mut first_output, mut second_output) = (None, None);
    poll_fn(move |cx| {
        for (future, output) in [(&mut first, &mut first_output), (&mut second, &mut second_output)]
        {
            if output.is_none()
                && let Poll::Ready(ready) = Pin::new(future).poll(cx)
            {
                *output = Some(ready);
            }
        }
        match (first_output.take(), second_output.take()) {
            (Some(first), Some(second)) => Poll::Ready([first, second]),
            (first, second) => {
                (first_output, second_output) = (first, second);
                Poll::Pending
            }
        }
    })
    .await
}

/// Message, debug form (with hint and detail) and causes of an error.
fn everything_said(error: &Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let causes: Vec<String> = causes.map(|cause| format!("{cause} {cause:?}")).collect();
    format!("{error} {error:?} {}", causes.join(" "))
}
