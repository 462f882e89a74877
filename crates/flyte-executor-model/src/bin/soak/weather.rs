//! Faults of the workspace, each with its share of all calls.

use databricks_emulator::{
    Calls, CannedResponse, Fault, FaultPlan, FaultRule, Probability, RetryAfter, RunCall, RunCalls,
    RunFault, SlowBody, When,
};
use http::HeaderValue;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// How long a delayed call is held up.
const DELAY: Duration = Duration::from_millis(500);

/// Pieces of a slow body, and the pause before each.
const DRIBBLE: SlowBody =
    SlowBody { piece: NonZeroUsize::MIN.saturating_add(1023), pause: Duration::from_millis(20) };

/// Faults of calls, by name, and what share of all of them each is, in thousandths.
fn of_calls() -> [(&'static str, u16, Fault); 13] {
    let json = |status, body: &str| Fault::Answer(CannedResponse::json(status, body));
    let page = |status| Fault::Answer(CannedResponse::html(status, "<html>no</html>"));
    [
        ("500", 120, json(500, r#"{"error_code": "INTERNAL_ERROR", "message": "oops"}"#)),
        ("503", 120, json(503, r#"{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "later"}"#)),
        ("502 page", 90, page(502)),
        ("504 page", 60, page(504)),
        // Few: each of them slows the budget of a server down for seconds, as it should. And no wait in whole seconds is
        // as short as all else is here.
        ("429", 4, Fault::RateLimited(RetryAfter::Absent)),
        ("429 with Retry-After", 4, Fault::RateLimited(RetryAfter::Seconds(0))),
        ("dropped before its effect", 120, Fault::DropBefore),
        ("dropped after its effect", 180, Fault::DropAfter),
        ("late effect", 50, Fault::DelayBefore(DELAY)),
        ("late answer", 50, Fault::DelayAfter(DELAY)),
        ("slow body", 30, Fault::SlowBody(DRIBBLE)),
        ("cut body", 150, Fault::CutBody(20)),
        ("wrong content type", 10, Fault::ContentType(HeaderValue::from_static("text/html"))),
    ]
}

/// Faults that strike so many calls in ten thousand.
pub(crate) fn plan(seed: u64, per_ten_thousand: u32) -> FaultPlan {
    let chance = |thousandths: u16| {
        let share = f64::from(per_ten_thousand) * f64::from(thousandths) / 10_000_000.0;
        Probability::new(share.min(1.0))
    };
    let mut rules: Vec<FaultRule> = of_calls()
        .into_iter()
        .filter_map(|(name, share, fault)| {
            let when = When::Chance(chance(share)?, fault);
            Some(FaultRule::on_calls(Calls::any(), when).named(name))
        })
        .collect();
    let earlier = RunFault::EarlierState(NonZeroU32::MIN);
    rules.extend(chance(12).map(|chance| {
        let when = When::Chance(chance, earlier);
        FaultRule::on_runs(RunCalls::to([RunCall::GetRun]), when).named("older state")
    }));
    FaultPlan { seed, rules }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_make_up_the_whole() {
        let shares: u16 = of_calls().iter().map(|(_, share, _)| share).sum();
        assert_eq!(shares + 12, 1000);
        assert_eq!(plan(1, 0).rules.len(), of_calls().len() + 1);
    }
}
