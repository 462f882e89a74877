//! Text for people, wherever it is shown. Pure.

/// The largest message, in characters. Flyte stores it with the task.
const MAX_CHARACTERS: usize = 4_000;

/// Without terminal colours and other control characters, which a console would show as garbage.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => match characters.next() {
                // A control sequence ends with its first letter or one of @ to ~.
                Some('[') => {
                    characters.by_ref().find(|end| ('@'..='~').contains(end));
                }
                // A command to the terminal ends with a bell, or with ESC \.
                Some(']') => {
                    let end = characters.by_ref().find(|end| ['\u{7}', '\u{1b}'].contains(end));
                    if end == Some('\u{1b}') {
                        characters.next_if_eq(&'\\');
                    }
                }
                // The choice of a character set has one more character.
                Some('(' | ')') => {
                    characters.next();
                }
                _ => {}
            },
            '\n' | '\t' => cleaned.push(character),
            '\r' => {}
            other if other.is_control() => {}
            other => cleaned.push(other),
        }
    }
    cleaned
}

/// At most so many characters: the start and the end, because the end of a trace names the error. What comes `after` is
/// short, and kept whole.
pub(super) fn bounded(text: &str, after: &str) -> String {
    let count = text.chars().count();
    let most = MAX_CHARACTERS.saturating_sub(after.chars().count());
    let text = if count <= most {
        text.to_owned()
    } else {
        let half = most / 2;
        let start: String = text.chars().take(half).collect();
        let end: String = text.chars().skip(count - half).collect();
        format!("{start}\n… {} characters left out …\n{end}", count - 2 * half)
    };
    if after.is_empty() { text } else { format!("{text}\n{after}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_get_no_orders() {
        for (given, told) in [
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}a\u{1b}]8;;x\u{1b}\\b", "ab"),
            ("\u{1b}(Bplain\u{1b}7", "plain"),
            ("a\r\nb\tc\u{0}\u{9b}", "a\nb\tc"),
            ("cut\u{1b}", "cut"),
            ("cut\u{1b}[3", "cut"),
        ] {
            assert_eq!(clean(given), told, "{given:?}");
        }
    }

    #[test]
    fn a_long_message_keeps_its_start_and_its_end() {
        let text = bounded(&format!("start{}end", "ä".repeat(10_000)), "hint");
        assert!(text.starts_with("start") && text.ends_with("end\nhint"), "{text}");
        assert!(text.chars().count() < MAX_CHARACTERS + 50);
    }
}
