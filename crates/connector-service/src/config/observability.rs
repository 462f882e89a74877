//! Validates the flags of the HTTP port's pages. A flag wins over its variable.

use super::ConfigError;
use crate::args::{ObservabilityArgs, STATUS};

/// Whether `/status` is served.
pub(super) fn status(
    args: &ObservabilityArgs,
    variable: Option<&str>,
) -> Result<bool, ConfigError> {
    if args.status {
        return Ok(true);
    }
    let Some(value) = variable else { return Ok(false) };
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(ConfigError::new(STATUS.name, format!("`{value}` is neither true nor false"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_page_is_off_unless_flag_or_variable_enables_it() {
        let enabled = |flag: bool, variable: Option<&str>| {
            let args = ObservabilityArgs { status: flag, last_scrape: 0 };
            status(&args, variable).map_err(|error| error.to_string())
        };
        assert_eq!(enabled(false, None), Ok(false));
        assert_eq!((enabled(true, None), enabled(true, Some("off"))), (Ok(true), Ok(true)));
        assert_eq!(
            (enabled(false, Some("True")), enabled(false, Some("0"))),
            (Ok(true), Ok(false))
        );
        assert_eq!(
            enabled(false, Some("maybe")).unwrap_err(),
            "FLYTE_CONNECTOR_STATUS: `maybe` is neither true nor false"
        );
    }
}
