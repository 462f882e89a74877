//! OpenMetrics as Prometheus' text format 0.0.4, which an old scraper and a person with curl read.

/// The same numbers in the older format. A counter's HELP and TYPE name the sample, with its `_total`; UNIT and EOF
/// do not exist there.
pub(super) fn from_open_metrics(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    // HELP comes before TYPE, and only TYPE says whether it is a counter.
    let mut help: Option<(&str, &str)> = None;
    for line in open_metrics.lines() {
        if let Some((name, said)) =
            line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '))
        {
            help = Some((name, said));
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let kind = if kind == "unknown" { "untyped" } else { kind };
            if let Some((of, said)) = help.take()
                && of == name
            {
                text.extend(["# HELP ", name, suffix, " ", said, "\n"]);
            }
            text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_with_their_suffix_and_the_end_mark_is_left_out() {
        let open_metrics = "# HELP a Says a.\n# TYPE a counter\na_total{x=\"1\"} 2\n\
                            # HELP b_seconds Says b.\n# TYPE b_seconds histogram\n# UNIT b_seconds seconds\n\
                            b_seconds_sum 1.0\nb_seconds_bucket{le=\"+Inf\"} 1\n# EOF\n";
        assert_eq!(
            from_open_metrics(open_metrics),
            "# HELP a_total Says a.\n# TYPE a_total counter\na_total{x=\"1\"} 2\n\
             # HELP b_seconds Says b.\n# TYPE b_seconds histogram\nb_seconds_sum 1.0\nb_seconds_bucket{le=\"+Inf\"} 1\n"
        );
    }
}
