//! The faults of the emulated workspace, and their shares.

use databricks_emulator::{
    Calls, CannedResponse, Fault, FaultPlan, FaultRule, Probability, RetryAfter, RunCall, RunCalls,
    RunFault, SlowBody, When,
};
use http::HeaderValue;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// The delay of delayed calls and responses.
const DELAY: Duration = Duration::from_millis(500);

/// A slow body: pieces of 1 KiB.
const SLOW_BODY: SlowBody =
    SlowBody { piece: NonZeroUsize::MIN.saturating_add(1023), pause: Duration::from_millis(20) };

/// Returns the faults of calls with their names and shares in thousandths.
fn call_faults() -> [(&'static str, u16, Fault); 13] {
    let json = |status, body: &str| Fault::Answer(CannedResponse::json(status, body));
    let page = |status| Fault::Answer(CannedResponse::html(status, "<html>no</html>"));
    [
        ("500", 120, json(500, r#"{"error_code": "INTERNAL_ERROR", "message": "oops"}"#)),
        ("503", 120, json(503, r#"{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "later"}"#)),
        ("502 page", 90, page(502)),
        ("504 page", 60, page(504)),
        // Few, because each one throttles a server for seconds. `Retry-After` is 0: a whole second is long compared with the
        // shortened intervals.
        ("429", 4, Fault::RateLimited(RetryAfter::Absent)),
        ("429 with Retry-After", 4, Fault::RateLimited(RetryAfter::Seconds(0))),
        ("dropped before its effect", 120, Fault::DropBefore),
        ("dropped after its effect", 180, Fault::DropAfter),
        ("delayed effect", 50, Fault::DelayBefore(DELAY)),
        ("delayed response", 50, Fault::DelayAfter(DELAY)),
        ("slow body", 30, Fault::SlowBody(SLOW_BODY)),
        ("cut body", 150, Fault::CutBody(20)),
        ("wrong content type", 10, Fault::ContentType(HeaderValue::from_static("text/html"))),
    ]
}

/// Returns a plan that injects a fault into `per_ten_thousand` of 10,000 calls.
pub(crate) fn plan(seed: u64, per_ten_thousand: u32) -> FaultPlan {
    let chance = |thousandths: u16| {
        let share = f64::from(per_ten_thousand) * f64::from(thousandths) / 10_000_000.0;
        Probability::new(share.min(1.0))
    };
    let mut rules: Vec<FaultRule> = call_faults()
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
    fn shares_sum_to_one_thousand() {
        let shares: u16 = call_faults().iter().map(|(_, share, _)| share).sum();
        assert_eq!(shares + 12, 1000);
        assert_eq!(plan(1, 0).rules.len(), call_faults().len() + 1);
    }
}
