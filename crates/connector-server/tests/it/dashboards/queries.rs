//! Reads the queries of the dashboard and of the alerts.

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::Value;

/// A PromQL expression of a panel, an alert, an annotation or a variable.
#[derive(Debug)]
pub struct Query {
    /// Where the expression is, for error messages.
    pub place: String,
    pub expression: String,
    /// The labels that the legend or the annotations show.
    pub shown: BTreeSet<String>,
}

/// An alert of `alerts.yml`.
#[derive(Debug)]
pub struct Alert {
    pub name: String,
    pub expression: String,
    /// The rule's YAML.
    pub text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/dashboards/flyte-connector.json")).unwrap()
}

/// Returns the panels, without row headings.
pub fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
}

/// Returns all queries of the dashboard, including variables and annotations.
pub fn dashboard_queries() -> Vec<Query> {
    let dashboard = dashboard();
    let mut queries = Vec::new();
    for panel in panels(&dashboard) {
        let place = format!("the panel {}", panel["title"]);
        for target in panel["targets"].as_array().unwrap() {
            queries.push(Query {
                place: place.clone(),
                expression: target["expr"].as_str().unwrap().to_owned(),
                shown: placeholders(target["legendFormat"].as_str().unwrap()),
            });
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        queries.push(Query {
            place: format!("the annotation {}", annotation["name"]),
            expression: annotation["expr"].as_str().unwrap().to_owned(),
            shown: placeholders(annotation["titleFormat"].as_str().unwrap()),
        });
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let Some(query) = variable["query"]["query"].as_str() else { continue };
        let arguments = query.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
        let (selector, label) = arguments.rsplit_once(", ").unwrap();
        queries.push(Query {
            place: format!("the variable {}", variable["name"]),
            expression: format!("sum by ({label}) ({selector})"),
            shown: [label.to_owned()].into(),
        });
    }
    queries
}

/// Returns the alerts. Parses by line, relying on the uniform layout of the file.
pub fn alerts() -> Vec<Alert> {
    read("deploy/dashboards/alerts.yml")
        .split("\n      - alert: ")
        .skip(1)
        .map(|text| {
            let (name, _) = text.split_once('\n').unwrap();
            let (_, from) = text.split_once("        expr: |\n").unwrap();
            let lines = from.lines().take_while(|line| line.starts_with("          "));
            let expression = lines.collect::<Vec<&str>>().join("\n");
            assert!(!expression.is_empty(), "{name} has no expression");
            Alert { name: name.to_owned(), expression, text: text.to_owned() }
        })
        .collect()
}

/// Returns the queries of the alerts.
pub fn alert_queries() -> Vec<Query> {
    let alerts = alerts().into_iter();
    alerts
        .map(|Alert { name, expression, text }| Query {
            place: format!("the rule {name}"),
            expression,
            shown: text
                .split("$labels.")
                .skip(1)
                .map(|rest| {
                    rest.chars().take_while(|next| next.is_alphanumeric() || *next == '_').collect()
                })
                .collect(),
        })
        .collect()
}

/// Returns the names between double braces.
fn placeholders(format: &str) -> BTreeSet<String> {
    let parts = format.split("{{").skip(1);
    parts.map(|rest| rest.split_once("}}").unwrap().0.trim().to_owned()).collect()
}
