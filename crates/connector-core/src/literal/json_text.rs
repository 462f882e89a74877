//! JSON as Python writes it: with `NaN`, `Infinity` and `-Infinity`. Pure.

use std::borrow::Cow;

use serde_json::Value;

/// Numbers that JSON cannot represent. In a parsed value, each is a string with a marker in front.
const NON_FINITE: [(&str, f64); 3] =
    [("-Infinity", f64::NEG_INFINITY), ("Infinity", f64::INFINITY), ("NaN", f64::NAN)];

/// The marker, which no text of a result begins with.
const MARKER: char = '\u{0}';

/// Parses JSON. Numbers that are not finite become strings that [`non_finite`] recognises.
pub(super) fn parse(text: &str) -> Option<Value> {
    serde_json::from_str(&quote_non_finite(text)).ok()
}

/// Returns the number in a string of a parsed value.
pub(super) fn non_finite(text: &str) -> Option<f64> {
    let name = text.strip_prefix(MARKER)?;
    NON_FINITE.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// Counts the values of a JSON text, at most as many as it has. Text that is not JSON has any number.
pub(super) fn values(text: &str) -> usize {
    let mut values = 1;
    outside_strings(text, |_, byte| values += usize::from(matches!(byte, b',' | b'[' | b'{')));
    values
}

/// Calls a function with each byte outside of strings, and its position.
fn outside_strings(text: &str, mut visit: impl FnMut(usize, u8)) {
    let (mut is_string, mut is_escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        if !is_string {
            visit(at, byte);
            is_string = byte == b'"';
        } else if is_escaped {
            is_escaped = false;
        } else if byte == b'\\' {
            is_escaped = true;
        } else if byte == b'"' {
            is_string = false;
        }
    }
}

/// Puts numbers that are not finite into quotes, with the marker.
fn quote_non_finite(text: &str) -> Cow<'_, str> {
    let mut found: Vec<(usize, &str)> = Vec::new();
    let mut end = 0;
    outside_strings(text, |at, byte| {
        if at >= end && matches!(byte, b'-' | b'I' | b'N') {
            let rest = text.get(at..).unwrap_or_default();
            if let Some((name, _)) = NON_FINITE.iter().find(|(name, _)| rest.starts_with(name)) {
                found.push((at, name));
                end = at + name.len();
            }
        }
    });
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut quoted = String::with_capacity(text.len() + found.len() * 8);
    let mut from = 0;
    for (at, name) in found {
        quoted.push_str(text.get(from..at).unwrap_or_default());
        quoted.push_str("\"\\u0000");
        quoted.push_str(name);
        quoted.push('"');
        from = at + name.len();
    }
    quoted.push_str(text.get(from..).unwrap_or_default());
    Cow::Owned(quoted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_of_python_that_are_not_json_are_marked() {
        let parsed =
            parse(r#"{"a": NaN, "b": [-Infinity, Infinity, -1], "NaN": "Infinity \" NaN"}"#);
        let expected = json!({"a": "\u{0}NaN", "b": ["\u{0}-Infinity", "\u{0}Infinity", -1],
            "NaN": "Infinity \" NaN"});
        assert_eq!(parsed, Some(expected));
        assert_eq!(non_finite("\u{0}-Infinity"), Some(f64::NEG_INFINITY));
        assert_eq!(non_finite("NaN"), None);
        assert_eq!(parse("NaNx"), None);
    }

    #[test]
    fn values_are_counted_outside_of_strings() {
        assert_eq!(values(r#"{"a,[": [1, "x\",", {}]}"#), 6);
        assert_eq!(values("7"), 1);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(?s).{0,100}") {
            let _value = parse(&text);
            let _count = values(&text);
        }
    }
}
