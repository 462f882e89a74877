//! What was said about the gRPC port's door, checked. A flag wins over its variable.

use std::time::Duration;

use super::{ConfigError, comma_separated};
use crate::{Callers, DoorArgs, DoorEnvironment, Health, HealthAccess, Limits, Tls, TlsFiles};

const MIB: u64 = 1024 * 1024;

/// TLS, if files were named for it.
pub(super) fn tls(
    args: &DoorArgs,
    environment: &DoorEnvironment,
) -> Result<Option<Tls>, ConfigError> {
    let cert = args.tls_cert.as_ref().or(environment.tls_cert.as_ref()).cloned();
    let key = args.tls_key.as_ref().or(environment.tls_key.as_ref()).cloned();
    let client_ca = args.tls_client_ca.as_ref().or(environment.tls_client_ca.as_ref()).cloned();
    match (cert, key, client_ca) {
        (Some(_), ..) | (_, Some(_), _) | (.., Some(_)) if args.plaintext => {
            Err(ConfigError::new("--plaintext", "cannot stand beside files for TLS"))
        }
        (Some(cert), Some(key), client_ca) => {
            Tls::open(TlsFiles { cert, key, client_ca }).map(Some)
        }
        (Some(_), None, _) => Err(ConfigError::new("--tls-key", "is needed with --tls-cert")),
        (None, Some(_), _) => Err(ConfigError::new("--tls-cert", "is needed with --tls-key")),
        (None, None, Some(_)) => Err(ConfigError::new(
            "--tls-client-ca",
            "means nothing without --tls-cert and --tls-key",
        )),
        (None, None, None) => Ok(None),
    }
}

/// Who may call.
pub(super) fn callers(
    args: &DoorArgs,
    environment: &DoorEnvironment,
) -> Result<Callers, ConfigError> {
    let mut callers = Callers::default();
    if let Some(names) = args.caller_names.as_ref().or(environment.caller_names.as_ref()) {
        if args.tls_client_ca.is_none() && environment.tls_client_ca.is_none() {
            let message = "needs --tls-client-ca: without it no client shows a certificate";
            return Err(ConfigError::new("--caller-names", message));
        }
        let names = comma_separated(names);
        if names.is_empty() {
            return Err(ConfigError::new("--caller-names", "names nobody"));
        }
        callers = callers.with_names(names);
    }
    match args.caller_tokens.as_ref().or(environment.caller_tokens.as_ref()) {
        Some(path) => callers.with_tokens(path.clone()),
        None => Ok(callers),
    }
}

/// Who may ask for health.
pub(super) fn health(args: &DoorArgs) -> HealthAccess {
    match args.health {
        Health::Open => HealthAccess::Open,
        Health::Callers => HealthAccess::Callers,
        Health::Off => HealthAccess::Off,
    }
}

/// How much is taken at once.
pub(super) fn limits(args: &DoorArgs) -> Result<Limits, ConfigError> {
    if args.max_requests_mib < args.max_message_mib {
        let message = "is less than --max-message-mib: such a request would wait for ever";
        return Err(ConfigError::new("--max-requests-mib", message));
    }
    let count = |number| usize::try_from(number).unwrap_or(usize::MAX);
    let age = Duration::from_secs(args.max_connection_age.into());
    Ok(Limits {
        calls: count(args.max_calls),
        queued: count(args.max_queued_calls),
        connections: count(args.max_connections),
        message_bytes: u64::from(args.max_message_mib) * MIB,
        request_bytes: u64::from(args.max_requests_mib) * MIB,
        connection_age: (!age.is_zero()).then_some(age),
        ..Limits::default()
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::Args;

    fn refused(line: &str, environment: &DoorEnvironment) -> String {
        let words = std::iter::once("x").chain(line.split_whitespace());
        let args = Args::try_parse_from(words).unwrap().serve.door;
        tls(&args, environment)
            .and_then(|_| callers(&args, environment))
            .and_then(|_| limits(&args))
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let nothing = DoorEnvironment::default();
        for (line, expected) in [
            ("--tls-cert a", "--tls-key: is needed with --tls-cert"),
            ("--tls-key a", "--tls-cert: is needed with --tls-key"),
            (
                "--tls-client-ca a",
                "--tls-client-ca: means nothing without --tls-cert and --tls-key",
            ),
            ("--tls-cert a --plaintext", "--plaintext: cannot stand beside files for TLS"),
            (
                "--caller-names a",
                "--caller-names: needs --tls-client-ca: without it no client shows a certificate",
            ),
            ("--tls-cert /nowhere/a --tls-key b", "--tls-cert: /nowhere/a cannot be read"),
            ("--caller-tokens /nowhere/a", "--caller-tokens: /nowhere/a cannot be read"),
            (
                "--max-message-mib 300",
                "--max-requests-mib: is less than --max-message-mib: such a request would wait for ever",
            ),
            ("--plaintext", ""),
            ("", ""),
        ] {
            assert_eq!(refused(line, &nothing), expected, "{line}");
        }
    }

    #[test]
    fn nothing_typed_gives_the_default_limits() {
        let args = Args::try_parse_from(["x"]).unwrap().serve.door;
        assert_eq!(limits(&args).unwrap(), Limits::default());
        let args = Args::try_parse_from(["x", "--max-connection-age", "0"]).unwrap().serve.door;
        assert_eq!(limits(&args).unwrap().connection_age, None);
    }

    #[test]
    fn a_variable_counts_and_its_flag_wins() {
        let environment = DoorEnvironment {
            tls_cert: Some("/nowhere/variable".into()),
            tls_key: Some("/nowhere/key".into()),
            ..DoorEnvironment::default()
        };
        assert_eq!(refused("", &environment), "--tls-cert: /nowhere/variable cannot be read");
        assert_eq!(
            refused("--tls-cert /nowhere/flag", &environment),
            "--tls-cert: /nowhere/flag cannot be read"
        );
    }
}
