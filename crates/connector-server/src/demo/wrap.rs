//! Text in lines of a given width.

use console::measure_text_width;

/// Breaks the text at blanks, so that a line is no wider than `width` where its words allow it. Line ends stay, and a
/// broken line goes on under its own indentation.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    text.lines().flat_map(|line| wrap_line(line, width)).collect()
}

fn wrap_line(line: &str, width: usize) -> Vec<String> {
    if measure_text_width(line) <= width {
        return vec![line.to_owned()];
    }
    let indentation: String = line.chars().take_while(|character| *character == ' ').collect();
    let mut lines = Vec::new();
    let mut current = indentation.clone();
    let mut empty = true;
    for word in line.trim().split(' ') {
        if !empty && measure_text_width(&current) + 1 + measure_text_width(word) > width {
            lines.push(std::mem::replace(&mut current, indentation.clone()));
            empty = true;
        }
        if !empty {
            current.push(' ');
        }
        current.push_str(word);
        empty = false;
    }
    lines.push(current);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_blanks() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one two three", 13), ["one two three"]);
    }

    #[test]
    fn a_word_that_is_too_long_has_its_own_line() {
        assert_eq!(wrap("a https://localhost:1/run b", 5), ["a", "https://localhost:1/run", "b"]);
    }

    #[test]
    fn wide_blanks_stay_within_a_line() {
        assert_eq!(wrap("one  two three", 8), ["one  two", "three"]);
    }

    #[test]
    fn line_ends_and_indentation_stay() {
        assert_eq!(
            wrap("Traceback:\n  File one two\n\nend", 10),
            ["Traceback:", "  File one", "  two", "", "end"]
        );
    }
}
