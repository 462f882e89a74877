//! Chance that is the same in every execution.

/// A number below 1 that follows from the seed and these parts alone.
pub(crate) fn draw(seed: u64, parts: &[&[u8]], nth: u64) -> f64 {
    let mut mixed = mix(seed);
    for part in parts {
        // FNV-1a, and the length, so that no two lists of parts read alike.
        let hash = part.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        mixed = mix(mixed ^ hash ^ (part.len() as u64));
    }
    // 32 bits are exact in a double.
    let high = u32::try_from(mix(mixed ^ nth) >> 32).unwrap_or(u32::MAX);
    f64::from(high) / (f64::from(u32::MAX) + 1.0)
}

/// The last step of `splitmix64`.
fn mix(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_spread_evenly_and_follow_from_every_part() {
        let low = (0..10_000).filter(|nth| draw(1, &[b"a", b"b"], *nth) < 0.1).count();
        assert!((900..1100).contains(&low), "{low}");
        let first = draw(1, &[b"a", b"b"], 0);
        assert!((first - draw(1, &[b"a", b"b"], 0)).abs() < f64::EPSILON);
        for other in
            [draw(2, &[b"a", b"b"], 0), draw(1, &[b"ab", b""], 0), draw(1, &[b"a", b"b"], 1)]
        {
            assert!((first - other).abs() > f64::EPSILON);
        }
    }
}
