//! Reproducible random numbers.

/// Returns a number from 0 to below 1 that depends only on the seed, the parts and `nth`.
pub(crate) fn fraction(seed: u64, parts: &[&[u8]], nth: u64) -> f64 {
    let mut mixed = mix(seed);
    for part in parts {
        // FNV-1a and the length, so that different lists of parts give different hashes.
        let hash = part.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        mixed = mix(mixed ^ hash ^ (part.len() as u64));
    }
    // A double represents 32 bits exactly.
    let high = u32::try_from(mix(mixed ^ nth) >> 32).unwrap_or(u32::MAX);
    f64::from(high) / (f64::from(u32::MAX) + 1.0)
}

/// The finalizer of `splitmix64`.
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
    fn fractions_are_uniform_and_depend_on_every_part() {
        let low = (0..10_000).filter(|nth| fraction(1, &[b"a", b"b"], *nth) < 0.1).count();
        assert!((900..1100).contains(&low), "{low}");
        let first = fraction(1, &[b"a", b"b"], 0);
        assert!((first - fraction(1, &[b"a", b"b"], 0)).abs() < f64::EPSILON);
        for other in [
            fraction(2, &[b"a", b"b"], 0),
            fraction(1, &[b"ab", b""], 0),
            fraction(1, &[b"a", b"b"], 1),
        ] {
            assert!((first - other).abs() > f64::EPSILON);
        }
    }
}
