//! `connector-server check`: what came of proving each credential, as a table.

use std::fmt::Write as _;

use databricks_connector::{DatabricksConnector, Identity, WorkspaceCheck};

/// Proves every credential. The table, and whether all of them are good.
pub(crate) async fn run(connector: &DatabricksConnector) -> (String, bool) {
    let checks = connector.check().await;
    (table(&checks), checks.iter().all(WorkspaceCheck::is_good))
}

fn table(checks: &[WorkspaceCheck]) -> String {
    if checks.is_empty() {
        return "The configuration is good. The connector has no credential of its own: each task brings one.\n".to_owned();
    }
    let mut rows =
        vec![["NAME", "WORKSPACE", "CREDENTIAL", "WHO", "MAY SUBMIT"].map(str::to_owned)];
    for check in checks {
        rows.push([
            check.name.clone(),
            check.host.clone(),
            check.kind.to_owned(),
            match &check.who {
                Identity::Known(who) => who.clone(),
                _ if check.is_dispensable => "-".to_owned(),
                Identity::Refused(_) => "refused".to_owned(),
                Identity::Unknown(_) => "unknown".to_owned(),
            },
            match &check.may_submit {
                Err(_) if check.is_dispensable => "-".to_owned(),
                Ok(true) => "yes".to_owned(),
                Ok(false) => "no".to_owned(),
                Err(_) => "unknown".to_owned(),
            },
        ]);
    }
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        // Writing to a String cannot fail.
        let _never = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    for check in checks {
        let unproven = match &check.who {
            Identity::Known(_) => None,
            Identity::Refused(why) | Identity::Unknown(why) => Some(why),
        };
        let troubles = [unproven, check.may_submit.as_ref().err()];
        for trouble in troubles.into_iter().flatten().filter(|trouble| *trouble != "not asked") {
            let _never = writeln!(text, "{}: {trouble}", check.name);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_who_and_why_not() {
        let good = WorkspaceCheck {
            name: "prod".to_owned(),
            host: "dbc-1.cloud.databricks.com".to_owned(),
            kind: "oauth-m2m",
            who: Identity::Known("someone@example.com".to_owned()),
            may_submit: Ok(true),
            is_dispensable: false,
        };
        let bad = WorkspaceCheck {
            name: "dev".to_owned(),
            who: Identity::Refused("the token was refused".to_owned()),
            may_submit: Err("not asked".to_owned()),
            ..good.clone()
        };
        let silent = WorkspaceCheck {
            name: "old".to_owned(),
            who: Identity::Unknown("no connection".to_owned()),
            ..bad.clone()
        };
        assert_eq!(
            table(&[good, bad.clone(), silent]),
            "NAME  WORKSPACE                   CREDENTIAL  WHO                  MAY SUBMIT\n\
             prod  dbc-1.cloud.databricks.com  oauth-m2m   someone@example.com  yes\n\
             dev   dbc-1.cloud.databricks.com  oauth-m2m   refused              unknown\n\
             old   dbc-1.cloud.databricks.com  oauth-m2m   unknown              unknown\n\
             dev: the token was refused\n\
             old: no connection\n"
        );
        let absent = WorkspaceCheck {
            name: "team-a/databricks-token".to_owned(),
            kind: "-",
            who: Identity::Unknown("there is no such Secret".to_owned()),
            is_dispensable: true,
            ..bad
        };
        assert!(absent.is_good());
        assert_eq!(
            table(&[absent]).lines().skip(1).collect::<Vec<_>>(),
            [
                "team-a/databricks-token  dbc-1.cloud.databricks.com  -           -    -",
                "team-a/databricks-token: there is no such Secret",
            ]
        );
        assert!(table(&[]).contains("no credential of its own"));
    }
}
