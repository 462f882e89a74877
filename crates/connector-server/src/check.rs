//! The `check` subcommand: verifies each credential and prints the results as a table. Submits no run.

use databricks_connector::{DatabricksConnector, Identity, WorkspaceCheck};

use crate::table;

const NO_CREDENTIALS: &str = "\
The configuration is valid. The connector has no credentials; each task needs its own.
On open-source Flyte a task cannot have one: set FLYTE_DATABRICKS_INSTANCE and FLYTE_DATABRICKS_ACCESS_TOKEN there.
";

/// Verifies every credential. Returns the report, and whether all credentials are usable.
pub(crate) async fn run(connector: &DatabricksConnector) -> (String, bool) {
    let checks = connector.check().await;
    (report(&checks), checks.iter().all(WorkspaceCheck::is_good))
}

fn report(checks: &[WorkspaceCheck]) -> String {
    if checks.is_empty() {
        return NO_CREDENTIALS.to_owned();
    }
    let mut rows =
        vec![["NAME", "WORKSPACE", "CREDENTIAL", "IDENTITY", "CAN SUBMIT"].map(str::to_owned)];
    let mut errors = Vec::new();
    for check in checks {
        let (identity, error) = match &check.identity {
            Identity::Known(who) => (who.as_str(), None),
            Identity::Rejected(error) => ("rejected", Some(error)),
            Identity::Unknown(error) => ("unknown", Some(error)),
        };
        let can_submit = match &check.can_submit {
            Ok(true) => "yes",
            Ok(false) => "no",
            Err(_) => "unknown",
        };
        let is_absent = check.is_optional;
        rows.push([
            check.name.clone(),
            check.host.clone(),
            check.kind.to_owned(),
            if is_absent && error.is_some() { "-" } else { identity }.to_owned(),
            if is_absent && check.can_submit.is_err() { "-" } else { can_submit }.to_owned(),
        ]);
        let submit_error = check.can_submit.as_ref().err().filter(|error| *error != "not asked");
        let described = error.into_iter().chain(submit_error);
        errors.extend(described.map(|error| format!("{}: {error}", check.name)));
    }
    let mut lines = table::format(&rows);
    lines.extend(errors);
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_lists_identities_and_errors() {
        let good = WorkspaceCheck {
            name: "prod".to_owned(),
            host: "dbc-1.cloud.databricks.com".to_owned(),
            kind: "oauth-m2m",
            identity: Identity::Known("someone@example.com".to_owned()),
            can_submit: Ok(true),
            is_optional: false,
        };
        let bad = WorkspaceCheck {
            name: "dev".to_owned(),
            identity: Identity::Rejected("the token was rejected".to_owned()),
            can_submit: Err("not asked".to_owned()),
            ..good.clone()
        };
        let unreachable = WorkspaceCheck {
            name: "old".to_owned(),
            identity: Identity::Unknown("no connection".to_owned()),
            ..bad.clone()
        };
        assert_eq!(
            report(&[good, bad.clone(), unreachable]),
            "NAME  WORKSPACE                   CREDENTIAL  IDENTITY             CAN SUBMIT\n\
             prod  dbc-1.cloud.databricks.com  oauth-m2m   someone@example.com  yes\n\
             dev   dbc-1.cloud.databricks.com  oauth-m2m   rejected             unknown\n\
             old   dbc-1.cloud.databricks.com  oauth-m2m   unknown              unknown\n\
             dev: the token was rejected\n\
             old: no connection\n"
        );
        let absent = WorkspaceCheck {
            name: "team-a/databricks-token".to_owned(),
            kind: "-",
            identity: Identity::Unknown("there is no such Secret".to_owned()),
            is_optional: true,
            ..bad
        };
        assert!(absent.is_good());
        assert_eq!(
            report(&[absent]).lines().skip(1).collect::<Vec<_>>(),
            [
                "team-a/databricks-token  dbc-1.cloud.databricks.com  -           -         -",
                "team-a/databricks-token: there is no such Secret",
            ]
        );
        assert!(report(&[]).contains("has no credentials"));
    }
}
