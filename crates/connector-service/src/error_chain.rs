//! Renders an error with its causes in one line.

use std::{error::Error, fmt::Write as _};

/// Returns the error and its causes, joined by `: `. A cause that the text already contains is left out.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !message.is_empty() && !text.contains(&message) {
            // Writing to a String cannot fail.
            let _infallible = write!(text, ": {message}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Step(&'static str, #[source] Option<Box<Self>>);

    #[test]
    fn repeated_and_empty_causes_are_left_out() {
        let step = |text, source: Option<Step>| Step(text, source.map(Box::new));
        let error = step("cannot load: no such file", Some(step("no such file", None)));
        assert_eq!(error_chain(&error), "cannot load: no such file");
        let error = step("a", Some(step("", Some(step("b", None)))));
        assert_eq!(error_chain(&error), "a: b");
    }
}
