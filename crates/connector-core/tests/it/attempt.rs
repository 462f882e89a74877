use std::collections::BTreeSet;

use connector_core::{
    CreateContext,
    attempt::{AttemptId, RunTag},
    flyteidl2::connector::TaskExecutionMetadata,
};

use crate::fixtures::create_context;

fn first_attempt() -> CreateContext {
    create_context("40_executor_first_attempt")
}

fn token(cx: &CreateContext, extra: &[&str]) -> String {
    AttemptId::from_request(cx).idempotency_token(extra)
}

/// The tag of that attempt, counted from 1.
fn tag(attempt: u32) -> RunTag {
    let mut cx = first_attempt();
    cx.execution.task_execution_id.as_mut().unwrap().retry_attempt = attempt - 1;
    let folder = cx.output_prefix.strip_suffix("/1").unwrap();
    cx.output_prefix = format!("{folder}/{attempt}");
    RunTag::new(&AttemptId::from_request(&cx)).unwrap()
}

/// The tag of the first attempt after one abandoned create.
fn tag_after_abandoned_create() -> RunTag {
    RunTag::new(&AttemptId::from_request(&first_attempt().with_abandoned_creates(1))).unwrap()
}

fn without_execution() -> CreateContext {
    let mut cx = first_attempt();
    cx.execution = TaskExecutionMetadata::default();
    cx
}

#[test]
fn same_attempt_has_same_token_of_64_hexadecimal_characters() {
    let first = token(&first_attempt(), &[]);
    assert_eq!(first, token(&first_attempt(), &[]));
    assert_eq!(first.len(), 64);
    assert!(first.bytes().all(|byte| byte.is_ascii_hexdigit()));
}

#[test]
fn tokens_and_keys_do_not_change_between_releases() {
    // Work of a release that is being replaced has them: another value would start it again.
    let attempt = AttemptId::from_request(&first_attempt());
    assert_eq!(
        attempt.idempotency_token(&[""]),
        "0526992a3abc71b870d6684a5a4ed66b287f80d30ef2bfbdd369a36e4edc56b4"
    );
    assert_eq!(attempt.action_key().as_deref(), Some("a98e70cf47895e6e"));
    assert_eq!(attempt.unique_key(), "fe9eb297d3301b1755797998d");
}

proptest::proptest! {
    #[test]
    fn token_never_exceeds_limit_and_differs_between_attempts(
        run in ".*", action in ".*", prefix in ".*", extra in proptest::option::of(".{0,200}"), attempt in 0_u32..u32::MAX,
    ) {
        let mut cx = first_attempt();
        cx.execution.environment_variables.insert("RUN_NAME".to_owned(), run);
        cx.execution.environment_variables.insert("ACTION_NAME".to_owned(), action);
        cx.output_prefix = prefix;
        cx.execution.task_execution_id.as_mut().unwrap().retry_attempt = attempt;
        let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
        let first = token(&cx, &extra);
        proptest::prop_assert_eq!(first.len(), 64);
        proptest::prop_assert!(first.bytes().all(|byte| byte.is_ascii_hexdigit()));
        cx.execution.task_execution_id.as_mut().unwrap().retry_attempt = attempt + 1;
        proptest::prop_assert_ne!(token(&cx, &extra), first);
    }
}

#[test]
fn each_part_changes_token() {
    let base = first_attempt();
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
        token(&abandoned, &[]),
        token(&again, &[]),
        token(&base, &[]),
        token(&base, &[""]),
        token(&base, &["mine"]),
        token(&base, &["mi", "ne"]),
        token(&attempt, &[]),
        token(&prefix, &[]),
        token(&run, &[]),
        token(&version, &[]),
        token(&create_context("41_executor_second_attempt"), &[]),
    ]
    .into();
    assert_eq!(tokens.len(), 11);
}

#[test]
fn request_without_execution_has_random_token_and_no_action_key() {
    let cx = without_execution();
    assert_ne!(token(&cx, &[]), token(&cx, &[]));
    let attempt = AttemptId::from_request(&cx);
    assert!(!attempt.is_identified());
    assert_eq!(attempt.action_key(), None);
    assert_eq!(RunTag::new(&attempt), None);
}

#[test]
fn unique_key_is_a_valid_name_and_differs_between_attempts() {
    let key = |change: &dyn Fn(&mut CreateContext)| {
        let mut cx = first_attempt();
        change(&mut cx);
        AttemptId::from_request(&cx).unique_key()
    };
    let first = key(&|_| {});
    assert_eq!(first, key(&|_| {}));
    let retry = |cx: &mut CreateContext| {
        cx.execution.task_execution_id.as_mut().unwrap().retry_attempt = 1;
    };
    assert_ne!(first, key(&retry));
    assert_ne!(first, key(&|cx| cx.output_prefix.push('x')));
    assert!(
        first.starts_with('f') && first.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "{first}"
    );
}

#[test]
fn attempts_of_one_action_share_key_and_count_from_one() {
    let (first, second) = (tag(1), tag(2));
    let key = AttemptId::from_request(&first_attempt()).action_key().unwrap();
    assert_eq!(first.to_string(), format!("[flyte:{key}:1]"));
    assert_eq!(second.to_string(), format!("[flyte:{key}:2]"));
    assert!(second.previous_attempt().unwrap().covers(&first));
    assert!(!second.previous_attempt().unwrap().covers(&second));
    assert_eq!(first.previous_attempt(), None);
    assert_eq!(RunTag::find(&format!("x {second} y")), Some(second));
}

#[test]
fn run_that_replaces_abandoned_run_is_newer() {
    let (first, again) = (tag(1), tag_after_abandoned_create());
    assert!(first.to_string().ends_with(":1]") && again.to_string().ends_with(":1.1]"));
    assert_eq!(RunTag::find(&again.to_string()), Some(again.clone()));
    assert!(!first.covers(&again));
    assert!(again.covers(&first));
    assert!(tag(2).previous_attempt().unwrap().covers(&again));
}

#[test]
fn other_action_or_installation_has_other_key() {
    let cx = first_attempt();
    let key = |cx: &CreateContext| AttemptId::from_request(cx).action_key();
    let mut elsewhere = cx.clone();
    elsewhere.output_prefix = cx.output_prefix.replacen("s3://", "gs://", 1);
    let mut action = cx.clone();
    action.execution.environment_variables.insert("ACTION_NAME".to_owned(), "a7".to_owned());
    for other in [elsewhere, action] {
        assert_ne!(key(&other), key(&cx));
    }
}

#[test]
fn text_without_tag_has_no_tag() {
    for strange in ["", "[flyte:", "[flyte:x]", "[flyte:x:y]", "[flyte:x:1"] {
        assert_eq!(RunTag::find(strange), None, "{strange}");
    }
    let foreign = RunTag::find("[flyte:0123456789abcdef:1]").unwrap();
    assert!(!tag(2).covers(&foreign));
}
