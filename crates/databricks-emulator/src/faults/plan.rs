//! Fault plans and rules in JSON: flags, the admin API and `Deserialize` share one parser.

use super::fault::{ConnectionFault, RunFault};
use super::rule::{FaultRule, Probability, RunCall, RunFilter, Target, When};
use crate::api::endpoint::Endpoint;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::str::FromStr;

/// Fault rules, and the seed for random ones. The crate documentation describes the JSON format.
///
/// ```
/// use databricks_emulator::FaultPlan;
///
/// let plan: FaultPlan = r#"{
///     "seed": 7,
///     "rules": [
///         {"name": "lost", "on": ["submit_run"], "times": 1, "fault": "drop_after"},
///         {"on": "calls", "run_name": "etl", "probability": 0.1, "fault": {"rate_limited": {"seconds": 1}}},
///         {"on": ["get_run"], "script": [null, {"delay_after_ms": 20}, "run_deleted"]},
///         {"on": "connections", "fault": "expired_certificate"}
///     ]
/// }"#.parse()?;
/// let error = r#"{"rules": [{"on": ["me"], "fault": "run_deleted"}]}"#.parse::<FaultPlan>().unwrap_err();
/// assert!(error.to_string().starts_with("rules[0].fault: "));
/// # Ok::<(), databricks_emulator::FaultPlanError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultPlan {
    /// The seed of random faults: the same seed and the same calls give the same faults.
    pub seed: u64,
    /// The rules in order. The first that injects a fault wins.
    pub rules: Vec<FaultRule>,
}

/// An invalid fault plan or rule, with the place of the error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct FaultPlanError {
    path: String,
    reason: String,
}

impl FaultPlanError {
    fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }

    fn below(mut self, parent: &str) -> Self {
        self.path = format!("{parent}.{}", self.path);
        self
    }
}

impl FromStr for FaultPlan {
    type Err = FaultPlanError;

    fn from_str(text: &str) -> Result<Self, FaultPlanError> {
        serde_json::from_str::<PlanForm>(text)
            .map_err(|error| FaultPlanError::new("the plan", error.to_string()))?
            .try_into()
    }
}

impl<'de> Deserialize<'de> for FaultPlan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        PlanForm::deserialize(deserializer)?.try_into().map_err(de::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanForm {
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    rules: Vec<Value>,
}

impl TryFrom<PlanForm> for FaultPlan {
    type Error = FaultPlanError;

    fn try_from(form: PlanForm) -> Result<Self, FaultPlanError> {
        let rules = form.rules.into_iter().enumerate().map(|(index, rule)| {
            let path = format!("rules[{index}]");
            let form: RuleForm = read(rule, &path)?;
            FaultRule::try_from(form).map_err(|error| error.below(&path))
        });
        Ok(Self { seed: form.seed, rules: rules.collect::<Result<_, _>>()? })
    }
}

impl FromStr for FaultRule {
    type Err = FaultPlanError;

    fn from_str(text: &str) -> Result<Self, FaultPlanError> {
        let form: RuleForm = serde_json::from_str(text)
            .map_err(|error| FaultPlanError::new("the rule", error.to_string()))?;
        Self::try_from(form).map_err(|error| error.below("the rule"))
    }
}

impl<'de> Deserialize<'de> for FaultRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RuleForm::deserialize(deserializer)?.try_into().map_err(de::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleForm {
    name: Option<String>,
    on: Value,
    run_name: Option<String>,
    run_id: Option<i64>,
    times: Option<Value>,
    probability: Option<f64>,
    script: Option<Vec<Value>>,
    fault: Option<Value>,
}

impl TryFrom<RuleForm> for FaultRule {
    type Error = FaultPlanError;

    fn try_from(form: RuleForm) -> Result<Self, FaultPlanError> {
        let runs = match (&form.run_name, form.run_id) {
            (None, None) => RunFilter::Any,
            (Some(name), None) => RunFilter::Name(name.clone()),
            (None, Some(id)) => RunFilter::Id(id),
            (Some(_), Some(_)) => {
                let reason = "run_name and run_id are mutually exclusive";
                return Err(FaultPlanError::new("run_id", reason));
            }
        };
        let name = form.name.clone();
        let endpoints: BTreeSet<Endpoint> = match &form.on {
            Value::String(on) if on == "connections" => {
                let path = match runs {
                    RunFilter::Any => {
                        let target = Target::Connections(when(form, read::<ConnectionFault>)?);
                        return Ok(Self { name, target });
                    }
                    RunFilter::Name(_) => "run_name",
                    RunFilter::Id(_) => "run_id",
                };
                return Err(FaultPlanError::new(path, "a connection has no run"));
            }
            Value::String(on) if on == "calls" => BTreeSet::new(),
            Value::Array(list) if !list.is_empty() => read(form.on.clone(), "on")?,
            _ => {
                let reason = r#"expected "calls", "connections", or a list of endpoints such as ["get_run"]"#;
                return Err(FaultPlanError::new("on", reason));
            }
        };
        let when = when(form, |fault, path| call_fault(fault, path, &endpoints))?;
        Ok(Self { name, target: Target::Calls { endpoints, runs, when } })
    }
}

fn call_fault(
    fault: Value,
    path: &str,
    endpoints: &BTreeSet<Endpoint>,
) -> Result<RunFault, FaultPlanError> {
    let steps = match &fault {
        Value::Object(fields) if fields.len() == 1 => fields.get("earlier_state"),
        _ => None,
    };
    if fault != "run_deleted" && steps.is_none() {
        return read(fault, path).map(RunFault::Call);
    }
    let is_run_call = |endpoint: &Endpoint| RunCall::ALL.map(Endpoint::from).contains(endpoint);
    if endpoints.is_empty() || !endpoints.iter().all(is_run_call) {
        let reason = "valid only if `on` lists nothing but get_run, get_run_output and cancel_run";
        return Err(FaultPlanError::new(path, reason));
    }
    match steps {
        None => Ok(RunFault::Deleted),
        Some(_) if endpoints.contains(&Endpoint::CancelRun) => {
            let reason = "earlier_state applies to reads: `on` must not list cancel_run";
            Err(FaultPlanError::new(path, reason))
        }
        Some(steps) => {
            read(steps.clone(), &format!("{path}.earlier_state")).map(RunFault::EarlierState)
        }
    }
}

fn when<F>(
    form: RuleForm,
    mut fault: impl FnMut(Value, &str) -> Result<F, FaultPlanError>,
) -> Result<When<F>, FaultPlanError> {
    let RuleForm { times, probability, script, fault: one, .. } = form;
    if let Some(script) = script {
        if times.is_some() || probability.is_some() || one.is_some() {
            let reason = "script excludes times, probability and fault";
            return Err(FaultPlanError::new("script", reason));
        }
        let faults = script.into_iter().enumerate().map(|(index, value)| {
            let step = Some(value).filter(|value| !value.is_null());
            step.map(|value| fault(value, &format!("script[{index}]"))).transpose()
        });
        return faults.collect::<Result<_, _>>().map(When::Script);
    }
    let one = one
        .ok_or_else(|| FaultPlanError::new("fault", "missing: a rule needs a fault or a script"))?;
    let one = fault(one, "fault")?;
    match (times, probability) {
        (None, None) => Ok(When::Always(one)),
        (Some(times), None) => Ok(When::Next(read::<NonZeroU32>(times, "times")?, one)),
        (None, Some(given)) => match Probability::new(given) {
            Some(probability) => Ok(When::Chance(probability, one)),
            None => Err(FaultPlanError::new("probability", format!("{given} is not from 0 to 1"))),
        },
        (Some(_), Some(_)) => {
            Err(FaultPlanError::new("probability", "times and probability are mutually exclusive"))
        }
    }
}

fn read<T: DeserializeOwned>(value: Value, path: &str) -> Result<T, FaultPlanError> {
    serde_json::from_value(value).map_err(|error| FaultPlanError::new(path, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Calls, CannedResponse, Fault, RetryAfter, RunCalls, SlowBody, TokenClock};
    use axum::http::HeaderValue;
    use std::time::Duration;

    fn rule(text: &str) -> Result<FaultRule, String> {
        text.parse().map_err(|error: FaultPlanError| error.to_string())
    }

    #[test]
    fn every_call_fault_is_parsed() {
        let ms = Duration::from_millis;
        let slow = SlowBody { piece: 4.try_into().unwrap(), pause: ms(9) };
        for (form, fault) in [
            (
                r#"{"answer": {"status": 503}}"#,
                Fault::Answer(CannedResponse { status: 503, ..CannedResponse::default() }),
            ),
            (r#"{"rate_limited": "unsaid"}"#, Fault::RateLimited(RetryAfter::Absent)),
            (r#"{"rate_limited": {"seconds": 2}}"#, Fault::RateLimited(RetryAfter::Seconds(2))),
            (r#"{"rate_limited": {"date_in": 2}}"#, Fault::RateLimited(RetryAfter::DateIn(2))),
            (
                r#"{"redirect": "/login.html"}"#,
                Fault::Redirect(HeaderValue::from_static("/login.html")),
            ),
            (r#""drop_before""#, Fault::DropBefore),
            (r#""drop_after""#, Fault::DropAfter),
            (r#"{"delay_before_ms": 5}"#, Fault::DelayBefore(ms(5))),
            (r#"{"delay_after_ms": 5}"#, Fault::DelayAfter(ms(5))),
            (r#"{"slow_body": {"piece": 4, "pause_ms": 9}}"#, Fault::SlowBody(slow)),
            (r#"{"cut_body": 10}"#, Fault::CutBody(10)),
            (
                r#"{"content_type": "text/html"}"#,
                Fault::ContentType(HeaderValue::from_static("text/html")),
            ),
            (
                r#"{"token_clock": {"ahead_seconds": 60}}"#,
                Fault::TokenClock(TokenClock::Ahead(ms(60_000))),
            ),
            (
                r#"{"token_clock": {"behind_seconds": 60}}"#,
                Fault::TokenClock(TokenClock::Behind(ms(60_000))),
            ),
        ] {
            let read = rule(&format!(r#"{{"on": "calls", "fault": {form}}}"#));
            assert_eq!(read, Ok(FaultRule::on_calls(Calls::any(), When::Always(fault))), "{form}");
        }
    }

    #[test]
    fn run_faults_scripts_and_connection_faults_are_parsed() {
        let calls = RunCalls::to([RunCall::GetRun]).of_run_named("etl");
        let script = vec![
            None,
            Some(Fault::DropBefore.into()),
            Some(RunFault::EarlierState(2.try_into().unwrap())),
        ];
        assert_eq!(
            rule(
                r#"{"name": "x", "on": ["get_run"], "run_name": "etl", "script": [null, "drop_before", {"earlier_state": 2}]}"#
            ),
            Ok(FaultRule::on_runs(calls, When::Script(script)).named("x"))
        );
        let half = Probability::new(0.5).unwrap();
        assert_eq!(
            rule(
                r#"{"on": ["submit_run", "get_run"], "run_id": 5, "probability": 0.5, "fault": "drop_after"}"#
            ),
            Ok(FaultRule::on_calls(
                Calls::to([Endpoint::GetRun, Endpoint::SubmitRun]).of_run(5),
                When::Chance(half, Fault::DropAfter)
            ))
        );
        for (form, fault) in [
            ("closed", ConnectionFault::Closed),
            ("not_tls", ConnectionFault::NotTls),
            ("untrusted_certificate", ConnectionFault::UntrustedCertificate),
            ("expired_certificate", ConnectionFault::ExpiredCertificate),
        ] {
            let read = rule(&format!(r#"{{"on": "connections", "times": 1, "fault": "{form}"}}"#));
            assert_eq!(read, Ok(FaultRule::on_connections(When::once(fault))));
        }
    }

    #[test]
    fn rules_and_plans_are_parts_of_other_files() {
        #[derive(Debug, Deserialize)]
        struct Suite {
            plan: FaultPlan,
            extra: Vec<FaultRule>,
        }
        let (plan, extra) = (
            r#"{"on": ["me"], "fault": "drop_after"}"#,
            r#"{"on": "calls", "fault": "drop_before"}"#,
        );
        let suite: Suite = serde_json::from_str(&format!(
            r#"{{"plan": {{"seed": 3, "rules": [{plan}]}}, "extra": [{extra}]}}"#
        ))
        .unwrap();
        assert_eq!((suite.plan.seed, &suite.plan.rules), (3, &vec![rule(plan).unwrap()]));
        assert_eq!(suite.extra, [rule(extra).unwrap()]);
        for (suite, place) in [
            (r#"{"plan": {}, "extra": [{"on": ["me"], "fault": "run_deleted"}]}"#, "fault: "),
            (r#"{"plan": {"rules": [{"on": "runs"}]}, "extra": []}"#, "rules[0].on: "),
        ] {
            let error = serde_json::from_str::<Suite>(suite).unwrap_err().to_string();
            assert!(error.starts_with(place), "{error}");
        }
    }

    #[test]
    fn error_names_the_place() {
        for (rules, path, word) in [
            (r#"[{"on": "calls", "fault": "drop"}]"#, "rules[0].fault: ", "drop_before"),
            (r#"[{"on": "calls", "script": [null, 5]}]"#, "rules[0].script[1]: ", "invalid type"),
            (r#"[{"on": ["get_ran"], "fault": "drop_after"}]"#, "rules[0].on: ", "get_ran"),
            (r#"[{"on": [], "fault": "drop_after"}]"#, "rules[0].on: ", "list of endpoints"),
            (r#"[{"on": "calls", "falt": "drop_after"}]"#, "rules[0]: ", "falt"),
            (r#"[{"on": "calls"}]"#, "rules[0].fault: ", "script"),
            (
                r#"[{"on": "calls", "times": 0, "fault": "drop_after"}]"#,
                "rules[0].times: ",
                "nonzero",
            ),
            (
                r#"[{"on": "calls", "probability": 1.5, "fault": "drop_after"}]"#,
                "rules[0].probability: ",
                "1.5",
            ),
            (
                r#"[{"on": "calls", "times": 1, "probability": 1, "fault": "drop_after"}]"#,
                "rules[0].probability: ",
                "times",
            ),
            (r#"[{"on": "calls", "script": [], "times": 1}]"#, "rules[0].script: ", "times"),
            (r#"[{"on": "calls", "fault": "run_deleted"}]"#, "rules[0].fault: ", "get_run"),
            (
                r#"[{"on": ["cancel_run"], "fault": {"earlier_state": 1}}]"#,
                "rules[0].fault: ",
                "reads",
            ),
            (r#"[{"on": "connections", "fault": "drop_after"}]"#, "rules[0].fault: ", "not_tls"),
            (
                r#"[{"on": "connections", "run_id": 1, "fault": "closed"}]"#,
                "rules[0].run_id: ",
                "has no run",
            ),
            (
                r#"[{"on": "calls", "run_id": 1, "run_name": "a", "fault": "drop_after"}]"#,
                "rules[0].run_id: ",
                "run_name",
            ),
            (r#"[{"on": "calls", "fault": {"answer": {"status": 20}}}]"#, "rules[0].fault: ", "20"),
        ] {
            let error =
                format!(r#"{{"rules": {rules}}}"#).parse::<FaultPlan>().unwrap_err().to_string();
            assert!(error.starts_with(path) && error.contains(word), "{error}");
        }
        let error = "{".parse::<FaultPlan>().unwrap_err().to_string();
        assert!(error.starts_with("the plan: ") && error.contains("line 1"), "{error}");
    }
}
