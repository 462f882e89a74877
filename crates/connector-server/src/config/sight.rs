//! What was said about the HTTP port's pages, checked. A flag wins over its variable.

use super::ConfigError;
use crate::args::{Environment, STATUS, SightArgs};

/// Whether `/status` is served.
pub(super) fn status(args: &SightArgs, environment: &Environment) -> Result<bool, ConfigError> {
    if args.status {
        return Ok(true);
    }
    let Some(said) = environment.status.as_deref() else { return Ok(false) };
    match said.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(ConfigError::new(STATUS, format!("`{said}` is neither true nor false"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(flag: bool, variable: Option<&str>) -> Result<bool, String> {
        let args = SightArgs { status: flag, last_scrape: 0 };
        let environment =
            Environment { status: variable.map(str::to_owned), ..Environment::default() };
        status(&args, &environment).map_err(|error| error.to_string())
    }

    #[test]
    fn the_page_is_off_unless_flag_or_variable_say_otherwise() {
        assert_eq!(said(false, None), Ok(false));
        assert_eq!((said(true, None), said(true, Some("off"))), (Ok(true), Ok(true)));
        assert_eq!((said(false, Some("True")), said(false, Some("0"))), (Ok(true), Ok(false)));
        let error = said(false, Some("maybe")).unwrap_err();
        assert_eq!(error, "FLYTE_CONNECTOR_STATUS: `maybe` is neither true nor false");
    }
}
