//! Faults of the workspace.

use databricks_emulator::{CannedAnswer, Emulator, Endpoint};
use fastrand::Rng;

/// Calls of the workspace that a task makes on average, to turn a share of calls into faults per task.
const CALLS_PER_TASK: u32 = 8;

/// How many faults this task brings, for so many per hundred calls.
pub(crate) fn strike(emulator: &Emulator, seed: u64, number: u64, percent: u8) -> u64 {
    let mut rng = Rng::with_seed(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ number);
    let mut struck = 0;
    for _ in 0..CALLS_PER_TASK {
        if rng.u8(0..100) < percent {
            let (endpoint, answer) = fault(&mut rng);
            emulator.answer_next(endpoint, answer, 1);
            struck += 1;
        }
    }
    struck
}

fn fault(rng: &mut Rng) -> (Endpoint, CannedAnswer) {
    let endpoint = match rng.u8(0..10) {
        0..2 => Endpoint::SubmitRun,
        2..8 => Endpoint::GetRun,
        8 => Endpoint::CancelRun,
        _ => Endpoint::ListRuns,
    };
    let answer = match rng.u8(0..6) {
        0 => CannedAnswer::json(
            429,
            r#"{"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "slow down"}"#,
        )
        // The whole workspace is left alone for as long as this says. No whole second is as short as all else here.
        .with_header("retry-after", "0"),
        1 => CannedAnswer::json(500, r#"{"error_code": "INTERNAL_ERROR", "message": "oops"}"#),
        2 => CannedAnswer::json(
            503,
            r#"{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "later"}"#,
        ),
        3 => CannedAnswer::html(502, "<html>bad gateway</html>"),
        4 => CannedAnswer::html(504, "<html>gateway timeout</html>"),
        // A success that was none would be a lie, and no fault, where its effect is what counts.
        _ if endpoint == Endpoint::CancelRun => CannedAnswer::json(500, "{}"),
        _ => CannedAnswer::json(200, "{\"run_id\": "),
    };
    (endpoint, answer)
}
