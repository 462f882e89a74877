//! `deploy/dashboards` and its pages of documentation, read.

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::Value;

/// One expression, with what stands beside it.
#[derive(Debug)]
pub struct Asked {
    /// The panel or the alert.
    pub place: String,
    pub expression: String,
    /// The labels that its legend or its annotations show.
    pub shown: BTreeSet<String>,
}

/// A rule of `alerts.yml`.
#[derive(Debug)]
pub struct Alert {
    pub name: String,
    pub expression: String,
    /// All of it but its name.
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

/// The panels that show something.
pub fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
}

/// What the dashboard asks for, its variables and annotations included.
pub fn asked_by_dashboard() -> Vec<Asked> {
    let dashboard = dashboard();
    let mut asked = Vec::new();
    for panel in panels(&dashboard) {
        let place = format!("the panel {}", panel["title"]);
        for target in panel["targets"].as_array().unwrap() {
            asked.push(Asked {
                place: place.clone(),
                expression: target["expr"].as_str().unwrap().to_owned(),
                shown: placeholders(target["legendFormat"].as_str().unwrap()),
            });
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        asked.push(Asked {
            place: format!("the annotation {}", annotation["name"]),
            expression: annotation["expr"].as_str().unwrap().to_owned(),
            shown: placeholders(annotation["titleFormat"].as_str().unwrap()),
        });
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let Some(query) = variable["query"]["query"].as_str() else { continue };
        let of = query.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
        let (selector, label) = of.rsplit_once(", ").unwrap();
        asked.push(Asked {
            place: format!("the variable {}", variable["name"]),
            expression: format!("sum by ({label}) ({selector})"),
            shown: [label.to_owned()].into(),
        });
    }
    asked
}

/// The rules, from their lines: their file is as regular as this wants it.
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

/// What the rules ask for.
pub fn asked_by_rules() -> Vec<Asked> {
    let alerts = alerts().into_iter();
    alerts
        .map(|Alert { name, expression, text }| Asked {
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

/// The names between double braces.
fn placeholders(format: &str) -> BTreeSet<String> {
    let parts = format.split("{{").skip(1);
    parts.map(|rest| rest.split_once("}}").unwrap().0.trim().to_owned()).collect()
}
