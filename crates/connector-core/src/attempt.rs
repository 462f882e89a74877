//! Identity of one attempt of an action: its names, and the tokens and keys that follow from them. Pure.
//!
//! Input is the [`CreateContext`] of an attempt; outputs are
//!
//! - [`AttemptId::idempotency_token`]: for a second create with the same token a service returns the work of the first, so
//!   that a repeated CreateTask starts nothing twice;
//! - [`AttemptId::action_key`]: equal for all attempts of one action;
//! - [`AttemptId::unique_key`]: a name for what only this attempt creates, such as a table;
//! - [`RunTag`]: text for the name or description of a run, by which a later call finds the run again.
//!
//! Flyte sends the same request again when it did not receive an answer, with the same names and the same attempt. A retry
//! has a higher attempt and another output prefix (flyte-contract.md#task-execution-metadata).
//!
//! ```
//! use connector_core::{CreateContext, attempt::AttemptId};
//!
//! fn idempotency_key(cx: &CreateContext, queue: &str) -> String {
//!     // Work in another queue is other work, so the queue is part of the token.
//!     AttemptId::from_request(cx).idempotency_token(&[queue])
//! }
//! ```

mod run_tag;

use flyteidl2::core::Identifier;

pub use self::run_tag::RunTag;
use crate::{
    CreateContext,
    digest::{length_prefixed, sha256_hex},
};

/// Hexadecimal characters of an action key.
const ACTION_KEY_LENGTH: usize = 16;

/// Hexadecimal characters of a unique key, which a letter precedes.
const UNIQUE_KEY_LENGTH: usize = 24;

/// The names of one attempt, as Flyte's own pods get them. A name that the request lacks is empty.
///
/// Each is read from the request's environment variables, else from the execution id, else from the task's id: the
/// runtime in the task reads the variables (flyte-contract.md#observed-backend).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AttemptId {
    org: String,
    project: String,
    domain: String,
    run: String,
    action: String,
    node: String,
    output_prefix: String,
    task: Identifier,
    retry_attempt: u32,
    abandoned_creates: u32,
    is_identified: bool,
}

impl AttemptId {
    /// Reads the names of the attempt that a request creates.
    pub fn from_request(cx: &CreateContext) -> Self {
        let id = cx.execution.task_execution_id.clone().unwrap_or_default();
        let is_identified = id.node_execution_id.is_some();
        let node = id.node_execution_id.unwrap_or_default();
        let run = node.execution_id.unwrap_or_default();
        let executed = id.task_id.unwrap_or_default();
        let template = cx.template.id.clone().unwrap_or_default();
        let variable =
            |name: &str| cx.execution.environment_variables.get(name).cloned().unwrap_or_default();
        Self {
            org: first([variable("_U_ORG_NAME"), run.org, executed.org, template.org.clone()]),
            project: first([
                variable("FLYTE_INTERNAL_EXECUTION_PROJECT"),
                run.project,
                executed.project,
                template.project.clone(),
            ]),
            domain: first([
                variable("FLYTE_INTERNAL_EXECUTION_DOMAIN"),
                run.domain,
                executed.domain,
                template.domain.clone(),
            ]),
            run: first([variable("RUN_NAME"), run.name]),
            action: first([variable("ACTION_NAME"), node.node_id.clone()]),
            node: node.node_id,
            output_prefix: cx.output_prefix.clone(),
            task: template,
            retry_attempt: id.retry_attempt,
            abandoned_creates: cx.abandoned_creates,
            is_identified,
        }
    }

    /// Returns the organization.
    pub fn org(&self) -> &str {
        &self.org
    }

    /// Returns the project.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Returns the domain.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Returns the name of the run.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Returns the name of the action within the run. In Flyte 1 it is the id of the node.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// Returns the id of the task template.
    pub fn task(&self) -> &Identifier {
        &self.task
    }

    /// Returns the folder of this attempt's outputs, as the request spells it.
    pub fn output_prefix(&self) -> &str {
        &self.output_prefix
    }

    /// Returns Flyte's retry attempt, which counts from 0.
    pub fn retry_attempt(&self) -> u32 {
        self.retry_attempt
    }

    /// Returns the attempt counted from 1, as Flyte's label and folders count it.
    pub fn attempt_number(&self) -> u32 {
        self.retry_attempt.saturating_add(1)
    }

    /// Returns the number of [abandoned creates](CreateContext::abandoned_creates) of this attempt.
    pub fn abandoned_creates(&self) -> u32 {
        self.abandoned_creates
    }

    /// True if the request names an execution. Without one, a repeated request cannot be recognized.
    pub fn is_identified(&self) -> bool {
        self.is_identified
    }

    /// Returns the idempotency token of this attempt: 64 lowercase hexadecimal characters.
    ///
    /// It is the same whenever the same attempt is created, and no other attempt has it. The output prefix is part of it
    /// because it differs between Flyte installations that share a service. After an abandoned create it differs, because
    /// the earlier token would return the work that is being cancelled.
    ///
    /// `extra` are further parts, in this order, such as a token that the user wrote. A user's token must not be sent
    /// unchanged: it would return the failed work of an earlier attempt.
    ///
    /// If the attempt is not [identified](Self::is_identified), the token is random, and differs at each call.
    pub fn idempotency_token(&self, extra: &[&str]) -> String {
        if !self.is_identified {
            return sha256_hex(&std::array::from_fn::<u8, 32, _>(|_| fastrand::u8(..)));
        }
        let retry_attempt = self.retry_attempt.to_string();
        let mut parts = vec![
            self.org.as_str(),
            &self.project,
            &self.domain,
            &self.run,
            &self.action,
            &self.node,
            &self.task.project,
            &self.task.domain,
            &self.task.name,
            &self.task.version,
            &retry_attempt,
            &self.output_prefix,
        ];
        parts.extend(extra);
        let mut bytes = length_prefixed(&parts);
        if self.abandoned_creates > 0 {
            bytes.extend(self.abandoned_creates.to_be_bytes());
        }
        sha256_hex(&bytes)
    }

    /// Returns 16 lowercase hexadecimal characters that all attempts of one action share, or `None` when the attempt is
    /// not [identified](Self::is_identified).
    ///
    /// The output prefix without the attempt's folder is part of the digest, because it differs between Flyte
    /// installations that share a service (flyte-contract.md#task-execution-metadata).
    pub fn action_key(&self) -> Option<String> {
        if !self.is_identified {
            return None;
        }
        let prefix = self.output_prefix.trim_end_matches('/');
        let folder = prefix.rsplit_once('/').map_or(prefix, |(folder, _attempt)| folder);
        let mut key = sha256_hex(&length_prefixed(&[
            &self.org,
            &self.project,
            &self.domain,
            &self.run,
            &self.action,
            folder,
        ]));
        key.truncate(ACTION_KEY_LENGTH);
        Some(key)
    }

    /// Returns a name for what this attempt creates elsewhere, such as a table: 25 letters and digits, a letter first. No
    /// other attempt has it.
    pub fn unique_key(&self) -> String {
        let mut digest = sha256_hex(&length_prefixed(&[
            &self.org,
            &self.project,
            &self.domain,
            &self.run,
            &self.action,
            &self.retry_attempt.to_string(),
            self.output_prefix.trim_end_matches('/'),
        ]));
        digest.truncate(UNIQUE_KEY_LENGTH);
        format!("f{digest}")
    }
}

fn first<const N: usize>(candidates: [String; N]) -> String {
    candidates.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}
