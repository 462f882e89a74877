//! Validates the flags of the gRPC port. A flag wins over its variable.

use std::time::Duration;

use super::ConfigError;
use crate::{
    args::{TransportArgs, TransportEnvironment, comma_separated},
    transport::{Callers, Limits, Tls, TlsFiles},
};

const MIB: u64 = 1024 * 1024;

/// Loads the TLS files. None if no file is given.
pub(super) fn tls(
    args: &TransportArgs,
    environment: &TransportEnvironment,
) -> Result<Option<Tls>, ConfigError> {
    let cert = args.tls_cert.as_ref().or(environment.tls_cert.as_ref()).cloned();
    let key = args.tls_key.as_ref().or(environment.tls_key.as_ref()).cloned();
    let client_ca = args.tls_client_ca.as_ref().or(environment.tls_client_ca.as_ref()).cloned();
    match (cert, key, client_ca) {
        (Some(_), ..) | (_, Some(_), _) | (.., Some(_)) if args.plaintext => {
            Err(ConfigError::new("--plaintext", "conflicts with the TLS files"))
        }
        (Some(cert), Some(key), client_ca) => {
            Tls::open(TlsFiles { cert, key, client_ca }).map(Some)
        }
        (Some(_), None, _) => Err(ConfigError::new("--tls-key", "is required with --tls-cert")),
        (None, Some(_), _) => Err(ConfigError::new("--tls-cert", "is required with --tls-key")),
        (None, None, Some(_)) => {
            Err(ConfigError::new("--tls-client-ca", "requires --tls-cert and --tls-key"))
        }
        (None, None, None) => Ok(None),
    }
}

/// Loads the authorized callers.
pub(super) fn callers(
    args: &TransportArgs,
    environment: &TransportEnvironment,
) -> Result<Callers, ConfigError> {
    let mut callers = Callers::default();
    if let Some(names) = args.caller_names.as_ref().or(environment.caller_names.as_ref()) {
        if args.tls_client_ca.is_none() && environment.tls_client_ca.is_none() {
            let message = "requires --tls-client-ca, which asks clients for a certificate";
            return Err(ConfigError::new("--caller-names", message));
        }
        let names = comma_separated(names);
        if names.is_empty() {
            return Err(ConfigError::new("--caller-names", "is empty"));
        }
        callers = callers.with_names(names);
    }
    match args.caller_tokens.as_ref().or(environment.caller_tokens.as_ref()) {
        Some(path) => callers.with_tokens(path.clone()),
        None => Ok(callers),
    }
}

/// Translates the limits.
pub(super) fn limits(args: &TransportArgs) -> Result<Limits, ConfigError> {
    if args.max_requests_mib < args.max_message_mib {
        let message = "is less than --max-message-mib";
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
    use super::*;
    use crate::config::tests::args;

    fn rejection(line: &str, environment: &TransportEnvironment) -> String {
        let args = args(line).transport;
        tls(&args, environment)
            .and_then(|_| callers(&args, environment))
            .and_then(|_| limits(&args))
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn inconsistent_values_are_rejected() {
        let unset = TransportEnvironment::default();
        for (line, expected) in [
            ("--tls-cert a", "--tls-key: is required with --tls-cert"),
            ("--tls-key a", "--tls-cert: is required with --tls-key"),
            ("--tls-client-ca a", "--tls-client-ca: requires --tls-cert and --tls-key"),
            ("--tls-cert a --plaintext", "--plaintext: conflicts with the TLS files"),
            (
                "--caller-names a",
                "--caller-names: requires --tls-client-ca, which asks clients for a certificate",
            ),
            ("--tls-cert /nowhere/a --tls-key b", "--tls-cert: /nowhere/a cannot be read"),
            ("--caller-tokens /nowhere/a", "--caller-tokens: /nowhere/a cannot be read"),
            ("--max-message-mib 300", "--max-requests-mib: is less than --max-message-mib"),
            ("--plaintext", ""),
            ("", ""),
        ] {
            assert_eq!(rejection(line, &unset), expected, "{line}");
        }
    }

    #[test]
    fn no_flags_give_the_default_limits() {
        assert_eq!(limits(&args("").transport).unwrap(), Limits::default());
        let unlimited = args("--max-connection-age 0").transport;
        assert_eq!(limits(&unlimited).unwrap().connection_age, None);
    }

    #[test]
    fn flag_wins_over_its_variable() {
        let environment = TransportEnvironment {
            tls_cert: Some("/nowhere/variable".into()),
            tls_key: Some("/nowhere/key".into()),
            ..TransportEnvironment::default()
        };
        assert_eq!(rejection("", &environment), "--tls-cert: /nowhere/variable cannot be read");
        assert_eq!(
            rejection("--tls-cert /nowhere/flag", &environment),
            "--tls-cert: /nowhere/flag cannot be read"
        );
    }
}
