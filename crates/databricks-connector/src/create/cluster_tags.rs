//! Tags of new clusters that identify the Flyte run, within the rules of each cloud
//! (databricks-api.md#custom-tags).

use connector_core::{Error, attempt::AttemptId};
use databricks_client::Host;
use serde_json::{Map, Value};

use crate::task::json;

/// The maximum number of tags of a cluster.
const MAX_TAGS: usize = 45;

/// The cloud whose rules for tags apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cloud {
    Aws,
    Azure,
    Gcp,
    /// Not known from the host name. The narrowest rules apply.
    Unknown,
}

impl Cloud {
    /// Returns the cloud of a workspace by the suffix of its host name (databricks-api.md#host-names).
    pub(crate) fn from_host(host: &Host) -> Self {
        let name = host.name();
        if name.ends_with(".gcp.databricks.com") {
            Self::Gcp
        } else if [".cloud.databricks.com", ".cloud.databricks.us", ".cloud.databricks.mil"]
            .iter()
            .any(|suffix| name.ends_with(suffix))
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

    /// Returns the value within the cloud's rules: replaces other characters by `-` and truncates.
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

/// The tags of one attempt.
pub(crate) type AttemptTags = Vec<(&'static str, String)>;

/// Returns the tags of an attempt, with values that the cloud accepts. Tags without a value are left out.
pub(crate) fn of_attempt(cloud: Cloud, attempt: &AttemptId, task: &str) -> AttemptTags {
    [
        ("flyte_org", attempt.org()),
        ("flyte_project", attempt.project()),
        ("flyte_domain", attempt.domain()),
        ("flyte_run", attempt.run()),
        ("flyte_action", attempt.action()),
        ("flyte_task", task),
        ("flyte_attempt", &attempt.attempt_number().to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key, cloud.value(value)))
    .filter(|(_, value)| !value.is_empty())
    .collect()
}

/// Tags the new cluster of a task, of the task that it repeats, or of an entry of `job_clusters`. Changes nothing else of
/// it.
///
/// # Errors
///
/// `InvalidTask` when the user's own tags have the wrong type.
pub(crate) fn tag_clusters(
    owner: &mut Map<String, Value>,
    tags: &AttemptTags,
) -> Result<(), Error> {
    if let Some(cluster) = owner.get_mut("new_cluster").and_then(Value::as_object_mut) {
        let users_tags = json::text_map(cluster.remove("custom_tags"), "new_cluster.custom_tags")?;
        let merged = merged(users_tags, tags);
        if !merged.is_empty() {
            cluster.insert("custom_tags".to_owned(), Value::Object(merged));
        }
    }
    let repeated = owner.get_mut("for_each_task").and_then(|repeated| repeated.get_mut("task"));
    match repeated.and_then(Value::as_object_mut) {
        Some(repeated) => tag_clusters(repeated, tags),
        None => Ok(()),
    }
}

/// Adds the attempt's tags to the user's own, which win.
fn merged(mut users_tags: Map<String, Value>, tags: &AttemptTags) -> Map<String, Value> {
    for (key, value) in tags {
        if users_tags.len() < MAX_TAGS && !users_tags.contains_key(*key) {
            users_tags.insert((*key).to_owned(), Value::String(value.clone()));
        }
    }
    users_tags
}

#[cfg(test)]
mod tests {
    use flyteidl2::{connector::CreateTaskRequest, core::Identifier};
    use serde_json::json;

    use super::*;

    #[test]
    fn cloud_is_known_from_host_name() {
        for (host, cloud) in [
            ("dbc-1.cloud.databricks.com", Cloud::Aws),
            ("adb-1.2.azuredatabricks.net", Cloud::Azure),
            ("1.2.gcp.databricks.com", Cloud::Gcp),
            ("localhost:8443", Cloud::Unknown),
        ] {
            assert_eq!(Cloud::from_host(&host.parse().unwrap()), cloud, "{host}");
        }
    }

    #[test]
    fn values_follow_rules_of_their_cloud() {
        assert_eq!(Cloud::Aws.value("a.b@c/d ü"), "a.b@c/d -");
        assert_eq!(Cloud::Azure.value("a/b+c"), "a-b-c");
        assert_eq!(Cloud::Gcp.value("_a.b@c_"), "a.b-c");
        assert_eq!(Cloud::Gcp.value(&"x".repeat(100)).len(), 63);
    }

    #[test]
    fn users_tags_win_and_limit_is_kept() {
        let mut request = CreateTaskRequest::default();
        let id = Identifier { project: "p".to_owned(), ..Identifier::default() };
        request.template.get_or_insert_default().id = Some(id);
        let attempt = AttemptId::from_request(&request.into());
        let own = json!({"flyte_project": "mine", "team": "a"});
        let tags = of_attempt(Cloud::Aws, &attempt, "t");
        assert_eq!(
            Value::Object(merged(own.as_object().unwrap().clone(), &tags)),
            json!({"flyte_project": "mine", "team": "a", "flyte_task": "t", "flyte_attempt": "1"})
        );
        let full: Map<String, Value> = (0..MAX_TAGS).map(|n| (n.to_string(), json!(""))).collect();
        assert_eq!(merged(full, &tags).len(), MAX_TAGS);
    }
}
