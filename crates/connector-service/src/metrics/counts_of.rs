//! What the connectors count themselves.

use std::fmt;

use connector_core::{Count, Distribution, Reading};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

/// Asks them whenever metrics are read.
#[derive(Debug)]
pub(super) struct CountsOf(pub(super) connector_core::Registry);

impl Collector for CountsOf {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for connector in self.0.connectors() {
            let counts = connector.counts();
            for family in counts.chunk_by(|one, other| one.name == other.name) {
                let Some(Count { name, help, reading, .. }) = family.first() else { continue };
                let metric_type = match reading {
                    Reading::Counter(_) => MetricType::Counter,
                    Reading::Gauge(_) => MetricType::Gauge,
                    Reading::Histogram(_) => MetricType::Histogram,
                };
                let mut metric = encoder.encode_descriptor(name, help, None, metric_type)?;
                for Count { labels, reading, .. } in family {
                    let labels: Vec<(&str, &str)> =
                        labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
                    let labels = labels.as_slice();
                    if labels.is_empty() {
                        write(&mut metric, reading)?;
                    } else {
                        write(&mut metric.encode_family(&labels)?, reading)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn write(metric: &mut MetricEncoder<'_>, reading: &Reading) -> fmt::Result {
    match reading {
        Reading::Counter(value) => metric.encode_counter::<NoLabelSet, _, f64>(value, None),
        Reading::Gauge(value) => metric.encode_gauge(value),
        Reading::Histogram(distribution) => {
            let buckets = buckets(distribution);
            let (sum, count) = (distribution.sum(), distribution.count());
            metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
        }
    }
}

fn buckets(distribution: &Distribution) -> Vec<(f64, u64)> {
    let buckets = distribution.buckets();
    buckets.map(|(bound, count)| (bound.unwrap_or(f64::INFINITY), count)).collect()
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    #[derive(Debug)]
    struct One(Distribution);

    impl Collector for One {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
            let mut metric = encoder.encode_descriptor("a", "a", None, MetricType::Histogram)?;
            write(&mut metric, &Reading::Histogram(self.0.clone()))
        }
    }

    #[test]
    fn the_last_bucket_of_a_histogram_has_no_bound_and_holds_all() {
        let mut distribution = Distribution::new(&[1.0, 5.0]);
        distribution.observe(0.5);
        distribution.observe(7.0);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(One(distribution)));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let wanted = [
            "a_sum 7.5",
            "a_count 2",
            r#"a_bucket{le="1.0"} 1"#,
            r#"a_bucket{le="5.0"} 1"#,
            r#"a_bucket{le="+Inf"} 2"#,
        ];
        assert_eq!(samples, wanted);
    }
}
