//! The connector's own credentials: the token, the file of workspaces, the standard variables.

use std::path::{Path, PathBuf};

use databricks_connector::{Config, Workspaces};

use super::{ConfigError, comma_separated};
use crate::args::{self, Environment, ServeArgs};

/// Where the token was mounted for the v1 plugin (FC §2).
const MOUNTED_TOKEN: &str = "/etc/secrets/flyte_databricks_access_token";

/// The connector's configuration with its credentials. Reads the file of workspaces.
pub(super) fn configured(
    args: &ServeArgs,
    environment: &Environment,
    config: Config,
) -> Result<Config, ConfigError> {
    let variables = &environment.standard.0;
    let file = match (&args.workspaces_file, &environment.workspaces) {
        (Some(path), _) => Some(("--workspaces", path)),
        (None, Some(path)) => Some((args::WORKSPACES, path)),
        (None, None) => None,
    };
    let listed = match file {
        None => Workspaces::default(),
        Some((name, path)) => {
            let wrong = |what: &str| ConfigError::new(name, format!("{} {what}", path.display()));
            let text = std::fs::read_to_string(path)
                .map_err(|error| wrong("cannot be read").with_source(error))?;
            Workspaces::parse(&text, variables)
                .map_err(|error| wrong("cannot be used").with_source(error))?
        }
    };
    let workspaces = listed
        .with_standard_variables(variables, config.instance.as_deref())
        .map_err(|error| ConfigError::new("DATABRICKS_*", error.to_string()))?;
    Ok(Config {
        workspaces,
        access_token_file: mounted_token(environment, Path::new(MOUNTED_TOKEN)),
        access_token_hosts: environment
            .access_token_hosts
            .as_deref()
            .map(comma_separated)
            .unwrap_or_default(),
        ..config
    })
}

/// The mounted token, where there is one and no variable says otherwise.
fn mounted_token(environment: &Environment, path: &Path) -> Option<PathBuf> {
    (environment.access_token.is_none() && path.is_file()).then(|| path.to_owned())
}
