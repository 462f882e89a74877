//! The connectors that the binary registers. A further connector is added here.

use connector_core::Registry;
use connector_service::{ConfigError, error_chain};
use databricks_connector::{ConfigField, DatabricksConnector};

use crate::environment;

/// Returns a registry with the Databricks connector.
///
/// # Errors
///
/// [`ConfigError`] if the connector rejects a value; it names the variable.
pub fn registry(config: databricks_connector::Config) -> Result<Registry, ConfigError> {
    let databricks = databricks(config)?;
    Registry::builder()
        .register(databricks)
        .build()
        .map_err(|error| ConfigError::new("the built-in connectors", error.to_string()))
}

/// Creates the Databricks connector. Fails like [`registry`].
pub(crate) fn databricks(
    config: databricks_connector::Config,
) -> Result<DatabricksConnector, ConfigError> {
    DatabricksConnector::new(config)
        .map_err(|error| ConfigError::new(variable(error.field()), error_chain(&error)))
}

fn variable(field: ConfigField) -> &'static str {
    match field {
        ConfigField::Instance => environment::INSTANCE.name,
        ConfigField::AccessToken => environment::ACCESS_TOKEN.name,
        ConfigField::AccessTokenHosts => environment::ACCESS_TOKEN_HOSTS.name,
        ConfigField::AllowedHosts => environment::ALLOWED_HOSTS.name,
        ConfigField::SqlWarehouse => environment::SQL_WAREHOUSE.name,
        ConfigField::Roots => environment::SSL_CERT_FILE.name,
        // `ConfigField` is non-exhaustive.
        _ => "the Databricks connector",
    }
}
