//! Validates the flags of the gRPC port. A flag wins over its variable.

use std::{ffi::OsString, time::Duration};

use super::ConfigError;
use crate::{
    args::{
        CALLER_NAMES, CALLER_TOKENS, TLS_CERT, TLS_CLIENT_CA, TLS_KEY, TransportArgs,
        comma_separated, path, text,
    },
    transport::{Callers, Limits, MIB, Tls, TlsFiles},
};

/// Loads the TLS files. None if no file is given.
pub(super) fn tls(
    args: &TransportArgs,
    get: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<Tls>, ConfigError> {
    let cert = args.tls_cert.clone().or_else(|| path(&get, TLS_CERT));
    let key = args.tls_key.clone().or_else(|| path(&get, TLS_KEY));
    let client_ca = args.tls_client_ca.clone().or_else(|| path(&get, TLS_CLIENT_CA));
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
    get: impl Fn(&str) -> Option<OsString>,
) -> Result<Callers, ConfigError> {
    let mut callers = Callers::default();
    if let Some(names) = args.caller_names.clone().or(text(&get, CALLER_NAMES)?) {
        if args.tls_client_ca.is_none() && path(&get, TLS_CLIENT_CA).is_none() {
            let message = "requires --tls-client-ca, which asks clients for a certificate";
            return Err(ConfigError::new("--caller-names", message));
        }
        let names = comma_separated(&names);
        if names.is_empty() {
            return Err(ConfigError::new("--caller-names", "is empty"));
        }
        callers = callers.with_names(names);
    }
    match args.caller_tokens.clone().or_else(|| path(&get, CALLER_TOKENS)) {
        Some(path) => callers.with_tokens(path),
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
    use crate::{
        args::Variable,
        config::tests::{args, variables},
    };

    fn rejection(line: &str, set: &[(Variable, &str)]) -> String {
        let args = args(line).transport;
        tls(&args, variables(set))
            .and_then(|_| callers(&args, variables(set)))
            .and_then(|_| limits(&args))
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn inconsistent_values_are_rejected() {
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
            assert_eq!(rejection(line, &[]), expected, "{line}");
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
        let set = [(TLS_CERT, "/nowhere/variable"), (TLS_KEY, "/nowhere/key")];
        assert_eq!(rejection("", &set), "--tls-cert: /nowhere/variable cannot be read");
        assert_eq!(
            rejection("--tls-cert /nowhere/flag", &set),
            "--tls-cert: /nowhere/flag cannot be read"
        );
    }
}
