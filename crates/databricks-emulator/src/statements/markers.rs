//! The markers of parameters in the text of a statement. Pure.

use std::collections::BTreeSet;

/// Every `:name` of the text, and `?` where there is one, outside of quotes and comments. `::` is a cast.
pub(super) fn of(text: &str) -> BTreeSet<String> {
    let bytes = text.as_bytes();
    let at = |place: usize| bytes.get(place).copied();
    let mut found = BTreeSet::new();
    let mut place = 0;
    while let Some(byte) = at(place) {
        place += 1;
        match (byte, at(place)) {
            (quote @ (b'\'' | b'"' | b'`'), _) => {
                while let Some(byte) = at(place) {
                    place += 1;
                    match byte {
                        b'\\' if quote != b'`' => place += 1,
                        _ if byte == quote => break,
                        _ => {}
                    }
                }
            }
            (b'-', Some(b'-')) => {
                while at(place).is_some_and(|byte| byte != b'\n') {
                    place += 1;
                }
            }
            (b'/', Some(b'*')) => {
                while at(place).is_some() && (at(place), at(place + 1)) != (Some(b'*'), Some(b'/'))
                {
                    place += 1;
                }
                place += 2;
            }
            (b':', Some(b':')) => place += 1,
            (b':', Some(first)) if first.is_ascii_alphabetic() || first == b'_' => {
                let start = place;
                while at(place).is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                    place += 1;
                }
                found.extend(text.get(start..place).map(ToOwned::to_owned));
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
    fn markers_are_found_outside_of_quotes_comments_and_casts() {
        for (text, expected) in [
            ("SELECT :a, b::INT, :a_1 + :_b", &["_b", "a", "a_1"] as &[&str]),
            ("SELECT ':a', \"\\\":b\", `:c` -- :d\n, :e /* :f * */ , :g", &["e", "g"]),
            ("SELECT ? WHERE x = 'it''s :a'", &["?"]),
            ("SELECT TIME '10:30' , m[1:2]", &[]),
            ("SELECT 'open :a", &[]),
            ("/* open :a", &[]),
            (":", &[]),
        ] {
            let found = of(text);
            assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{text}");
        }
    }
}
