//! Finds parameter markers in the text of a statement.

use std::collections::BTreeSet;

/// Returns the name of every `:name` marker, and `?` if there is one. Ignores quotes, comments and `::` casts.
pub(super) fn parameter_markers(text: &str) -> BTreeSet<String> {
    let bytes = text.as_bytes();
    let at = |index: usize| bytes.get(index).copied();
    let mut found = BTreeSet::new();
    let mut index = 0;
    while let Some(byte) = at(index) {
        index += 1;
        match (byte, at(index)) {
            (quote @ (b'\'' | b'"' | b'`'), _) => {
                while let Some(byte) = at(index) {
                    index += 1;
                    match byte {
                        b'\\' if quote != b'`' => index += 1,
                        _ if byte == quote => break,
                        _ => {}
                    }
                }
            }
            (b'-', Some(b'-')) => {
                while at(index).is_some_and(|byte| byte != b'\n') {
                    index += 1;
                }
            }
            (b'/', Some(b'*')) => {
                while at(index).is_some() && (at(index), at(index + 1)) != (Some(b'*'), Some(b'/'))
                {
                    index += 1;
                }
                index += 2;
            }
            (b':', Some(b':')) => index += 1,
            (b':', Some(first)) if first.is_ascii_alphabetic() || first == b'_' => {
                let start = index;
                while at(index).is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                    index += 1;
                }
                found.extend(text.get(start..index).map(ToOwned::to_owned));
            }
            (b'?', _) => {
                found.insert("?".to_owned());
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_in_quotes_comments_and_casts_are_ignored() {
        for (text, expected) in [
            ("SELECT :a, b::INT, :a_1 + :_b", &["_b", "a", "a_1"] as &[&str]),
            ("SELECT ':a', \"\\\":b\", `:c` -- :d\n, :e /* :f * */ , :g", &["e", "g"]),
            ("SELECT ? WHERE x = 'it''s :a'", &["?"]),
            ("SELECT TIME '10:30' , m[1:2]", &[]),
            ("SELECT 'open :a", &[]),
            ("/* open :a", &[]),
            (":", &[]),
        ] {
            let found = parameter_markers(text);
            assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{text}");
        }
    }
}
