//! What was said about the calls to Databricks.

use std::{num::NonZeroU32, time::Duration};

use databricks_connector::{CallLimits, Config};

use crate::WorkspaceArgs;

/// The connector's configuration with its limits and patiences.
pub(super) fn limited(args: &WorkspaceArgs, config: Config) -> Config {
    // The flags are one at least.
    let count = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    let unreachable = seconds(args.unreachable_patience);
    Config {
        calls: CallLimits {
            at_once: count(args.calls_at_once),
            reads_per_second: count(args.reads_per_second),
            writes_per_second: count(args.writes_per_second),
        },
        refusal_patience: seconds(args.refusal_patience),
        vanished_patience: seconds(args.vanished_patience),
        unreachable_patience: (!unreachable.is_zero()).then_some(unreachable),
        sql_warehouse: args.sql_warehouse.clone().or(config.sql_warehouse),
        ..config
    }
}

fn seconds(number: u32) -> Duration {
    Duration::from_secs(number.into())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::Args;

    fn config(line: &str) -> Config {
        let words = std::iter::once("x").chain(line.split_whitespace());
        limited(&Args::try_parse_from(words).unwrap().serve.workspaces, Config::default())
    }

    #[test]
    fn the_flags_have_the_defaults_of_the_connector() {
        let (given, default) = (config(""), Config::default());
        assert_eq!(given.calls, default.calls);
        assert_eq!(given.refusal_patience, default.refusal_patience);
        assert_eq!(given.vanished_patience, default.vanished_patience);
        assert_eq!(given.unreachable_patience, default.unreachable_patience);
    }

    #[test]
    fn every_flag_counts() {
        let given = config(
            "--reads-per-second 1 --writes-per-second 2 --calls-at-once 3 --refusal-patience 4 \
             --vanished-patience 5 --unreachable-patience 6",
        );
        let calls =
            [given.calls.reads_per_second, given.calls.writes_per_second, given.calls.at_once];
        assert_eq!(calls.map(NonZeroU32::get), [1, 2, 3]);
        assert_eq!(given.refusal_patience, Duration::from_secs(4));
        assert_eq!(given.vanished_patience, Duration::from_secs(5));
        assert_eq!(given.unreachable_patience, Some(Duration::from_secs(6)));
    }

    #[test]
    fn the_warehouse_of_the_flag_wins() {
        let of = |line: &str, variable: Option<&str>| {
            let args = Args::try_parse_from(line.split(' ')).unwrap().serve.workspaces;
            let sql_warehouse = variable.map(str::to_owned);
            limited(&args, Config { sql_warehouse, ..Config::default() }).sql_warehouse
        };
        assert_eq!(of("x --sql-warehouse f", Some("v")).as_deref(), Some("f"));
        assert_eq!(of("x", Some("v")).as_deref(), Some("v"));
        assert_eq!(of("x", None), None);
    }

    #[test]
    fn no_limit_of_nothing_is_taken() {
        for line in ["--reads-per-second 0", "--calls-at-once 0", "--call-timeout 0"] {
            let words = std::iter::once("x").chain(line.split_whitespace());
            assert!(Args::try_parse_from(words).is_err(), "{line}");
        }
    }
}
