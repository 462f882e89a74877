//! The token by which Databricks recognises a submission that was sent before (DA §3.1).

use connector_core::CreateContext;
use sha2::{Digest, Sha256};

use crate::task::execution::Execution;

/// The token of this attempt: the same for the same attempt, whoever sends it, and for no other.
///
/// 64 hexadecimal characters, which is the limit. The output prefix is an ingredient because it differs between Flyte
/// installations that share a workspace; the user's own token is one more ingredient and is never sent bare, because
/// it would return the failed run of an earlier attempt (DESIGN §3.1). Without an execution id there is nothing to
/// recognise a repeated request by, so the token is random.
pub(crate) fn token(cx: &CreateContext, execution: &Execution, users_own: Option<&str>) -> String {
    let mut hash = Sha256::new();
    if execution.is_identified {
        let task = cx.template.id.clone().unwrap_or_default();
        let attempt = execution.retry_attempt.to_string();
        for part in [
            execution.org.as_str(),
            &execution.project,
            &execution.domain,
            &execution.run,
            &execution.action,
            &task.project,
            &task.domain,
            &task.name,
            &task.version,
            &attempt,
            &cx.output_prefix,
            users_own.unwrap_or_default(),
        ] {
            // The length keeps `ab` + `c` apart from `a` + `bc`.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        // A token whose run was given up would bring that run back.
        if cx.abandoned_creates > 0 {
            hash.update(cx.abandoned_creates.to_be_bytes());
        }
    } else {
        for _ in 0..4 {
            hash.update(fastrand::u64(..).to_be_bytes());
        }
    }
    hash.finalize()
        .iter()
        .fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fixtures::create_context;

    fn of(cx: &CreateContext, users_own: Option<&str>) -> String {
        token(cx, &Execution::of(cx), users_own)
    }

    #[test]
    fn the_same_attempt_has_the_same_token_of_64_hexadecimal_characters() {
        let first = of(&create_context("40_executor_first_attempt"), None);
        assert_eq!(first, of(&create_context("40_executor_first_attempt"), None));
        assert_eq!(first.len(), 64);
        assert!(first.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    proptest::proptest! {
        #[test]
        fn no_token_passes_the_limit_and_no_two_attempts_share_one(
            run in ".*", action in ".*", prefix in ".*", users_own in proptest::option::of(".{0,200}"), attempt in 0_u32..u32::MAX,
        ) {
            let mut cx = create_context("40_executor_first_attempt");
            cx.execution.environment_variables.insert("RUN_NAME".to_owned(), run);
            cx.execution.environment_variables.insert("ACTION_NAME".to_owned(), action);
            cx.output_prefix = prefix;
            cx.execution.task_execution_id.as_mut().unwrap().retry_attempt = attempt;
            let token = of(&cx, users_own.as_deref());
            proptest::prop_assert_eq!(token.len(), 64);
            proptest::prop_assert!(token.bytes().all(|byte| byte.is_ascii_hexdigit()));
            cx.execution.task_execution_id.as_mut().unwrap().retry_attempt = attempt + 1;
            proptest::prop_assert_ne!(of(&cx, users_own.as_deref()), token);
        }
    }

    #[test]
    fn each_ingredient_changes_the_token() {
        let base = create_context("40_executor_first_attempt");
        let mut attempt = base.clone();
        attempt.execution.task_execution_id.as_mut().unwrap().retry_attempt = 1;
        let mut prefix = base.clone();
        prefix.output_prefix.push('x');
        let mut run = base.clone();
        run.execution.environment_variables.insert("RUN_NAME".to_owned(), "other".to_owned());
        let mut version = base.clone();
        version.template.id.as_mut().unwrap().version.push('x');
        let abandoned = base.clone().with_abandoned_creates(1);
        let again = base.clone().with_abandoned_creates(2);
        let tokens: BTreeSet<String> = [
            of(&abandoned, None),
            of(&again, None),
            of(&base, None),
            of(&base, Some("mine")),
            of(&attempt, None),
            of(&prefix, None),
            of(&run, None),
            of(&version, None),
            of(&create_context("41_executor_second_attempt"), None),
        ]
        .into();
        assert_eq!(tokens.len(), 9);
    }

    #[test]
    fn a_request_without_an_execution_has_a_random_token() {
        let mut cx = create_context("40_executor_first_attempt");
        cx.execution = flyteidl2::connector::TaskExecutionMetadata::default();
        assert_ne!(of(&cx, None), of(&cx, None));
    }
}
