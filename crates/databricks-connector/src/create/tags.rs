//! Tags on new clusters, within the rules of each cloud (DA §10.2).

use databricks_client::Host;
use serde_json::{Map, Value};

use crate::task::execution::Execution;

/// Tags that a cluster may have.
const MAX_TAGS: usize = 45;

/// Whose rules apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cloud {
    Aws,
    Azure,
    Gcp,
    /// A host that does not tell; the narrowest rules are taken.
    Unknown,
}

impl Cloud {
    /// The cloud of a workspace, by the suffix of its name (DA §4.3).
    pub(crate) fn of(host: &Host) -> Self {
        let name = host.name();
        if name.ends_with(".gcp.databricks.com") {
            Self::Gcp
        } else if name.ends_with(".cloud.databricks.com") || name.ends_with(".cloud.databricks.us")
        {
            Self::Aws
        } else if [".azuredatabricks.net", ".databricks.azure.us", ".databricks.azure.cn"]
            .iter()
            .any(|s| name.ends_with(s))
        {
            Self::Azure
        } else {
            Self::Unknown
        }
    }

    fn max_value(self) -> usize {
        match self {
            Self::Aws => 255,
            Self::Azure => 256,
            Self::Gcp | Self::Unknown => 63,
        }
    }

    /// The value as the cloud takes it: other characters become `-`, and what is too long is cut.
    fn value(self, text: &str) -> String {
        let allowed = |character: char| match self {
            Self::Aws => character.is_ascii_alphanumeric() || " _+-=.:/@".contains(character),
            Self::Azure => character.is_ascii_graphic() && !r"<>*&%;\/+?".contains(character),
            Self::Gcp | Self::Unknown => {
                character.is_ascii_alphanumeric() || "-_.".contains(character)
            }
        };
        let mapped: String = text
            .chars()
            .map(|character| if allowed(character) { character } else { '-' })
            .take(self.max_value())
            .collect();
        match self {
            Self::Aws | Self::Azure => mapped,
            Self::Gcp | Self::Unknown => {
                mapped.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
            }
        }
    }
}

/// The tags of an attempt beside the user's own, which win.
pub(crate) fn merged(
    cloud: Cloud,
    execution: &Execution,
    task: &str,
    users_own: Map<String, Value>,
) -> Map<String, Value> {
    // Counted from 1, as Flyte's own label is.
    let attempt = execution.retry_attempt.saturating_add(1).to_string();
    let ours = [
        ("flyte_org", execution.org.as_str()),
        ("flyte_project", &execution.project),
        ("flyte_domain", &execution.domain),
        ("flyte_run", &execution.run),
        ("flyte_action", &execution.action),
        ("flyte_task", task),
        ("flyte_attempt", &attempt),
    ];
    let mut merged = users_own;
    for (key, value) in ours {
        let value = cloud.value(value);
        if !value.is_empty() && merged.len() < MAX_TAGS && !merged.contains_key(key) {
            merged.insert(key.to_owned(), Value::String(value));
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_host_tells_the_cloud() {
        for (host, cloud) in [
            ("dbc-1.cloud.databricks.com", Cloud::Aws),
            ("adb-1.2.azuredatabricks.net", Cloud::Azure),
            ("1.2.gcp.databricks.com", Cloud::Gcp),
            ("localhost:8443", Cloud::Unknown),
        ] {
            assert_eq!(Cloud::of(&host.parse().unwrap()), cloud, "{host}");
        }
    }

    #[test]
    fn values_keep_to_the_rules_of_their_cloud() {
        assert_eq!(Cloud::Aws.value("a.b@c/d ü"), "a.b@c/d -");
        assert_eq!(Cloud::Azure.value("a/b+c"), "a-b-c");
        assert_eq!(Cloud::Gcp.value("_a.b@c_"), "a.b-c");
        assert_eq!(Cloud::Gcp.value(&"x".repeat(100)).len(), 63);
    }

    #[test]
    fn the_users_own_tags_win_and_nothing_passes_the_limit() {
        let execution = Execution { project: "p".to_owned(), ..Execution::default() };
        let own = json!({"flyte_project": "mine", "team": "a"});
        let tags = merged(Cloud::Aws, &execution, "t", own.as_object().unwrap().clone());
        assert_eq!(
            Value::Object(tags),
            json!({"flyte_project": "mine", "team": "a", "flyte_task": "t", "flyte_attempt": "1"})
        );
        let full: Map<String, Value> = (0..MAX_TAGS).map(|n| (n.to_string(), json!(""))).collect();
        assert_eq!(merged(Cloud::Aws, &execution, "t", full).len(), MAX_TAGS);
    }
}
