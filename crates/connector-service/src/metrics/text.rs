//! Converts OpenMetrics to the Prometheus text format 0.0.4, for scrapers that do not accept OpenMetrics.

/// Converts the text. HELP and TYPE of a counter name the sample, including its `_total`. UNIT and EOF are dropped.
pub(super) fn from_open_metrics(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    // HELP precedes TYPE, and only TYPE identifies a counter.
    let mut help: Option<(&str, &str)> = None;
    for line in open_metrics.lines() {
        if let Some((name, help_text)) =
            line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '))
        {
            help = Some((name, help_text));
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let kind = if kind == "unknown" { "untyped" } else { kind };
            if let Some((of, help_text)) = help.take()
                && of == name
            {
                text.extend(["# HELP ", name, suffix, " ", help_text, "\n"]);
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
    fn counters_keep_suffix_and_eof_is_dropped() {
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
