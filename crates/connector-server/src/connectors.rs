//! The connectors of the binary.

use connector_core::Registry;
use connector_service::{ConfigError, error_chain};
use databricks_connector::{ConfigField, DatabricksConnector};

use crate::args;

/// The registry of the binary: Databricks.
///
/// # Errors
///
/// [`ConfigError`] when the connector refuses a value; it names the variable.
pub fn registry(config: databricks_connector::Config) -> Result<Registry, ConfigError> {
    let databricks = databricks(config)?;
    Registry::builder()
        .register(databricks)
        .build()
        .map_err(|error| ConfigError::new("the built-in connectors", error.to_string()))
}

/// The Databricks connector.
///
/// # Errors
///
/// [`ConfigError`] when the connector refuses a value; it names the variable.
pub(crate) fn databricks(
    config: databricks_connector::Config,
) -> Result<DatabricksConnector, ConfigError> {
    DatabricksConnector::new(config).map_err(|error| {
        let name = variable(error.field());
        ConfigError::new(name, error_chain(&error))
    })
}

fn variable(field: ConfigField) -> &'static str {
    match field {
        ConfigField::Instance => args::INSTANCE,
        ConfigField::AccessToken => args::ACCESS_TOKEN,
        ConfigField::AccessTokenHosts => args::ACCESS_TOKEN_HOSTS,
        ConfigField::AllowedHosts => args::ALLOWED_HOSTS,
        ConfigField::SqlWarehouse => args::SQL_WAREHOUSE,
        ConfigField::Roots => args::SSL_CERT_FILE,
        // A part that has no variable yet.
        _ => "the Databricks connector",
    }
}
