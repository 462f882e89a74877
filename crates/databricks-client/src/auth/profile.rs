//! Parsing of `.databrickscfg`, the configuration profiles of Databricks' own tools
//! (databricks-api.md#credential-order). Pure.

use std::collections::BTreeMap;

/// A section with settings of the tools. Not a profile.
const SETTINGS: &str = "__settings__";

/// Returns the attributes of a profile, or of the default profile. None if it does not exist.
pub(super) fn attributes(text: &str, profile: Option<&str>) -> Option<BTreeMap<String, String>> {
    let sections = sections(text);
    let default = sections.get(SETTINGS).and_then(|settings| settings.get("default_profile"));
    let name = profile.or(default.map(String::as_str)).unwrap_or("DEFAULT");
    if name == SETTINGS {
        return None;
    }
    sections.get(name).cloned()
}

fn sections(text: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut current: Option<String> = None;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let name = name.trim().to_owned();
            sections.entry(name.clone()).or_default();
            current = Some(name);
            continue;
        }
        let (Some(section), Some((key, value))) = (&current, line.split_once('=')) else {
            continue;
        };
        // A `#` starts a comment only after a space, since a token may contain one.
        let value = value.split_once(" #").map_or(value, |(value, _comment)| value).trim();
        if let Some(section) = sections.get_mut(section) {
            section.insert(key.trim().to_lowercase(), value.to_owned());
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
; a comment
[DEFAULT]
host = https://one.cloud.databricks.com
token = a#b # mine

[two]
Host=https://two.cloud.databricks.com
client_id = id
no value here

[__settings__]
default_profile = two
";

    #[test]
    fn profile_is_selected_by_name_then_by_the_settings_then_by_default() {
        let host = |profile| attributes(FILE, profile).map(|found| found["host"].clone());
        assert_eq!(host(Some("DEFAULT")).unwrap(), "https://one.cloud.databricks.com");
        assert_eq!(host(None).unwrap(), "https://two.cloud.databricks.com");
        assert_eq!(host(Some("three")), None);
        assert_eq!(attributes(FILE, Some("__settings__")), None);
        let (plain, _) = FILE.split_once("[__settings__]").unwrap();
        assert_eq!(attributes(plain, None).unwrap()["token"], "a#b");
        assert_eq!(attributes("", None), None);
    }
}
