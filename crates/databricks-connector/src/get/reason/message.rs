//! Makes text of unknown origin safe to store and display. Pure.

/// The longest message, in characters; Flyte stores it with the task.
const MAX_CHARACTERS: usize = 4_000;

/// Removes terminal escape sequences and other control characters, except line feeds and tabs.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => match characters.next() {
                // A control sequence (CSI) ends with a byte from @ to ~.
                Some('[') => {
                    characters.by_ref().find(|end| ('@'..='~').contains(end));
                }
                // An operating system command (OSC) ends with BEL or ESC \.
                Some(']') => {
                    let end = characters.by_ref().find(|end| ['\u{7}', '\u{1b}'].contains(end));
                    if end == Some('\u{1b}') {
                        characters.next_if_eq(&'\\');
                    }
                }
                // A character set selection has one more character.
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

/// Truncates a text to the maximum length and appends `suffix`, which must be short, in full.
///
/// Keeps the start and the end, because the end of a stack trace names the error.
pub(super) fn truncate(text: &str, suffix: &str) -> String {
    let count = text.chars().count();
    let max = MAX_CHARACTERS.saturating_sub(suffix.chars().count());
    let text = if count <= max {
        text.to_owned()
    } else {
        let half = max / 2;
        let start: String = text.chars().take(half).collect();
        let end: String = text.chars().skip(count - half).collect();
        format!("{start}\n… {} characters omitted …\n{end}", count - 2 * half)
    };
    if suffix.is_empty() { text } else { format!("{text}\n{suffix}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_control_characters_are_removed() {
        for (text, cleaned) in [
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}a\u{1b}]8;;x\u{1b}\\b", "ab"),
            ("\u{1b}(Bplain\u{1b}7", "plain"),
            ("a\r\nb\tc\u{0}\u{9b}", "a\nb\tc"),
            ("cut\u{1b}", "cut"),
            ("cut\u{1b}[3", "cut"),
        ] {
            assert_eq!(clean(text), cleaned, "{text:?}");
        }
    }

    #[test]
    fn long_message_keeps_its_start_and_its_end() {
        let text = truncate(&format!("start{}end", "ä".repeat(10_000)), "hint");
        assert!(text.starts_with("start") && text.ends_with("end\nhint"), "{text}");
        assert!(text.chars().count() < MAX_CHARACTERS + 50);
    }
}
