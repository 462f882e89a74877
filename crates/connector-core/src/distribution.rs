//! Many numbers by their size.

/// How many numbers lie below each of some bounds, and what they come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    bounds: &'static [f64],
    /// One place for each bound, and one for what is beyond.
    counts: Vec<u64>,
    sum: f64,
}

impl Distribution {
    /// None yet. The bounds must grow; each belongs to its own bucket.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Adds a number.
    pub fn observe(&mut self, number: f64) {
        let place = self.bounds.partition_point(|bound| *bound < number);
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
            self.sum += number;
        }
    }

    /// All of them together.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many lie in each bucket alone, with the upper bound of the bucket. The last one has none.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<f64>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        bounds.zip(self.counts.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_lies_below_or_at_the_bound_of_its_bucket() {
        let mut distribution = Distribution::new(&[1.0, 5.0]);
        for number in [0.5, 1.0, 1.5, 5.0, 6.0] {
            distribution.observe(number);
        }
        let buckets: Vec<_> = distribution.buckets().collect();
        assert_eq!(buckets, [(Some(1.0), 2), (Some(5.0), 2), (None, 1)]);
        assert_eq!(distribution.count(), 5);
        assert!((distribution.sum() - 14.0).abs() < 1e-9);
    }
}
