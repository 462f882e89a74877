//! The SQL warehouses that the operator names, at most one for each workspace. Pure.

use std::collections::BTreeMap;

use databricks_client::Host;
use serde::Deserialize;

/// The longest accepted id. Ids of Databricks have 16 characters.
const MAX_ID: usize = 64;

/// How the rows of a statement are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SqlResults {
    /// In the workspace's responses.
    #[default]
    Inline,
    /// In the workspace's cloud storage, which must be reachable.
    Links,
}

/// A SQL warehouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warehouse {
    pub(crate) id: String,
    pub(crate) results: SqlResults,
}

impl Warehouse {
    /// Validates the id.
    ///
    /// # Errors
    ///
    /// The reason why the id is invalid.
    pub(crate) fn new(id: &str, results: SqlResults) -> Result<Self, &'static str> {
        let id = id.trim();
        let is_id = (1..=MAX_ID).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if is_id {
            Ok(Self { id: id.to_owned(), results })
        } else {
            Err(
                "not the id of a SQL warehouse, which is at the end of its HTTP path, as in /sql/1.0/warehouses/1234567890abcdef",
            )
        }
    }
}

/// The warehouses by workspace.
pub(crate) type Warehouses = BTreeMap<Host, Warehouse>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_accepted_and_path_is_rejected() {
        let id = |text| Warehouse::new(text, SqlResults::Inline).map(|warehouse| warehouse.id);
        assert_eq!(id(" 1234567890abcdef\n").as_deref(), Ok("1234567890abcdef"));
        for text in ["", "/sql/1.0/warehouses/1234567890abcdef", "a b", "ü", &"a".repeat(65)] {
            assert!(id(text).is_err(), "{text}");
        }
    }
}
