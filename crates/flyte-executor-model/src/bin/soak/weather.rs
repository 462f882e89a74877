//! Faults of the workspace.

use databricks_emulator::{CannedAnswer, Emulator, Endpoint};
use fastrand::Rng;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The faults that one task brings: each is for the next call of its kind, whoever makes it.
#[derive(Debug)]
pub(crate) struct Weather {
    rng: Mutex<Rng>,
    per_thousand: u16,
    struck: Arc<AtomicU64>,
}

impl Weather {
    /// So many faults per thousand calls, counted there.
    pub(crate) fn new(seed: u64, number: u64, per_thousand: u16, struck: Arc<AtomicU64>) -> Self {
        let seed = seed.wrapping_mul(0xd134_2543_de82_ef95) ^ number;
        Self { rng: Mutex::new(Rng::with_seed(seed)), per_thousand, struck }
    }

    /// About so many calls of that kind come now, in tenths.
    pub(crate) fn strike(&self, emulator: &Emulator, endpoint: Endpoint, tenths: u16) {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let chance = u32::from(self.per_thousand) * u32::from(tenths);
        if rng.u32(0..10_000) < chance {
            emulator.answer_next(endpoint, fault(&mut rng, endpoint), 1);
            self.struck.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn fault(rng: &mut Rng, endpoint: Endpoint) -> CannedAnswer {
    match rng.u8(0..100) {
        // Few: each of them slows a server's budget down for seconds, as it should.
        0..2 => CannedAnswer::json(
            429,
            r#"{"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "slow down"}"#,
        )
        // The whole workspace is left alone for as long as this says. No whole second is as short as all else here.
        .with_header("retry-after", "0"),
        2..25 => CannedAnswer::json(500, r#"{"error_code": "INTERNAL_ERROR", "message": "oops"}"#),
        25..50 => CannedAnswer::json(
            503,
            r#"{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "later"}"#,
        ),
        50..70 => CannedAnswer::html(502, "<html>bad gateway</html>"),
        70..85 => CannedAnswer::html(504, "<html>gateway timeout</html>"),
        // A success that was none would be a lie, and no fault, where its effect is what counts.
        _ if endpoint == Endpoint::CancelRun => CannedAnswer::json(500, "{}"),
        _ => CannedAnswer::json(200, "{\"run_id\": "),
    }
}
