//! The idempotency token of a submission. For a second submission with the same token Databricks
//! returns the run of the first (databricks-api.md#idempotency-token).

use super::digest::{length_prefixed, sha256_hex};
use crate::task::execution::Execution;

/// Returns the token of this attempt, 64 hexadecimal characters, which is the limit.
///
/// It is the same whenever the same attempt is submitted, and no other attempt has it. The output
/// prefix is part of it because it differs between Flyte installations that share a workspace. The
/// user's own token is part of it and is never sent unchanged, because it would return the failed
/// run of an earlier attempt. A request without an execution id cannot be recognized when it is
/// repeated, so its token is random.
pub(crate) fn token(execution: &Execution, users_token: Option<&str>) -> String {
    if !execution.is_identified {
        return sha256_hex(&std::array::from_fn::<u8, 32, _>(|_| fastrand::u8(..)));
    }
    let task = &execution.task;
    let mut ingredients = length_prefixed(&[
        &execution.org,
        &execution.project,
        &execution.domain,
        &execution.run,
        &execution.action,
        &task.project,
        &task.domain,
        &task.name,
        &task.version,
        &execution.retry_attempt.to_string(),
        &execution.output_prefix,
        users_token.unwrap_or_default(),
    ]);
    // The token of an abandoned run would return that run.
    if execution.abandoned > 0 {
        ingredients.extend(execution.abandoned.to_be_bytes());
    }
    sha256_hex(&ingredients)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use connector_core::CreateContext;

    use super::*;
    use crate::fixtures::create_context;

    fn of(cx: &CreateContext, users_token: Option<&str>) -> String {
        token(&Execution::of(cx), users_token)
    }

    #[test]
    fn same_attempt_has_same_token_of_64_hexadecimal_characters() {
        let first = of(&create_context("40_executor_first_attempt"), None);
        assert_eq!(first, of(&create_context("40_executor_first_attempt"), None));
        assert_eq!(first.len(), 64);
        assert!(first.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    proptest::proptest! {
        #[test]
        fn token_never_exceeds_limit_and_differs_between_attempts(
            run in ".*", action in ".*", prefix in ".*", users_token in proptest::option::of(".{0,200}"), attempt in 0_u32..u32::MAX,
        ) {
            let mut cx = create_context("40_executor_first_attempt");
            cx.execution.environment_variables.insert("RUN_NAME".to_owned(), run);
            cx.execution.environment_variables.insert("ACTION_NAME".to_owned(), action);
            cx.output_prefix = prefix;
            cx.execution.task_execution_id.as_mut().unwrap().retry_attempt = attempt;
            let token = of(&cx, users_token.as_deref());
            proptest::prop_assert_eq!(token.len(), 64);
            proptest::prop_assert!(token.bytes().all(|byte| byte.is_ascii_hexdigit()));
            cx.execution.task_execution_id.as_mut().unwrap().retry_attempt = attempt + 1;
            proptest::prop_assert_ne!(of(&cx, users_token.as_deref()), token);
        }
    }

    #[test]
    fn each_ingredient_changes_token() {
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
    fn request_without_execution_has_random_token() {
        let mut cx = create_context("40_executor_first_attempt");
        cx.execution = flyteidl2::connector::TaskExecutionMetadata::default();
        assert_ne!(of(&cx, None), of(&cx, None));
    }
}
