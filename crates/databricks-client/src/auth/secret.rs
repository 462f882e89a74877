//! Cleaning of secrets that users and operators provide, and their removal from texts: a proxy may echo what it was
//! sent.

use secrecy::SecretString;

/// The shortest secret that is removed, in bytes. Shorter ones occur in ordinary text.
const MIN_LENGTH: usize = 6;

/// Characters that a file or a form adds around a secret: a byte order mark, and spaces of no width.
const INVISIBLE: [char; 4] = ['\u{feff}', '\u{200b}', '\u{200e}', '\u{2060}'];

/// The scheme of a header that was copied together with its token, in lower case.
const SCHEME: &str = "bearer ";

/// Strips surrounding whitespace, a byte order mark, a pair of quotes, and the prefix `Bearer`. `None` if the secret is
/// empty. Files and Kubernetes Secrets often end with a line break, which a header cannot
/// contain.
pub fn clean_secret(text: &str) -> Option<SecretString> {
    let mut text = text;
    loop {
        let cleaned = without_layer(text);
        if cleaned.len() == text.len() {
            break;
        }
        text = cleaned;
    }
    (!text.is_empty()).then(|| SecretString::from(text.to_owned()))
}

fn without_layer(text: &str) -> &str {
    let text = text.trim_matches(|character: char| {
        character.is_whitespace() || INVISIBLE.contains(&character)
    });
    let unquoted = ['"', '\'', '`']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)));
    if let Some(inside) = unquoted {
        return inside;
    }
    match text.split_at_checked(SCHEME.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => token,
        None if text.eq_ignore_ascii_case(SCHEME.trim_end()) => "",
        _ => text,
    }
}

/// Replaces each secret in the text.
pub(super) fn redact<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    secrets
        .into_iter()
        .filter(|secret| secret.len() >= MIN_LENGTH)
        .fold(text.to_owned(), |text, secret| text.replace(secret, "[redacted]"))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn secret_is_taken_out_of_what_surrounds_it() {
        for text in [
            "dapi-1",
            " dapi-1\r\n",
            "\u{feff}dapi-1\n",
            "\"dapi-1\"",
            "'dapi-1'\n",
            "Bearer dapi-1",
            "bearer  dapi-1",
            "\u{feff}\"Bearer dapi-1\"\n",
            "Bearer \"dapi-1\"",
        ] {
            let secret = clean_secret(text).unwrap();
            assert_eq!(secret.expose_secret(), "dapi-1", "{text:?}");
        }
        for text in ["", " ", "\u{feff}", "\"\"", "' '", "Bearer  "] {
            assert!(clean_secret(text).is_none(), "{text:?}");
        }
        for text in ["\"dapi-1", "dapi-1'", "Bearerdapi-1", "da\"pi"] {
            assert_eq!(clean_secret(text).unwrap().expose_secret(), text);
        }
    }
}
