//! Limits vague words in the comments of each crate. docs/glossary.md has the words to use instead.

use super::layers::Package;
use super::{Tree, Violation};

/// Vague words and phrases.
const VAGUE: [&str; 20] = [
    "told",
    "tells",
    "nobody",
    "somebody",
    "whoever",
    "whatever",
    "borne",
    "stands",
    "in vain",
    "what comes of",
    "what becomes of",
    "given up",
    "goes on",
    "looked at",
    "so many",
    "that many",
    "at once",
    "of its own",
    "what is",
    "who may",
];

/// A crate may use one vague word per this many words of comments.
const WORDS_PER_VAGUE_WORD: usize = 2_000;

/// Number of places that a violation lists.
const SHOWN: usize = 10;

pub(super) fn check(tree: &Tree, packages: &[Package]) -> Vec<Violation> {
    packages.iter().filter_map(|package| check_crate(tree, &package.folder)).collect()
}

fn check_crate(tree: &Tree, folder: &str) -> Option<Violation> {
    let mut words = 0;
    let mut places = Vec::new();
    for (path, text) in tree {
        let is_source = path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
            && std::path::Path::new(path).extension().is_some_and(|extension| extension == "rs")
            && !path.contains("/gen/");
        let (true, Some(text)) = (is_source, text) else { continue };
        let mut previous = "";
        for (index, line) in text.lines().enumerate() {
            let part = comment_of(line).unwrap_or_default();
            words += word_count(part);
            // A phrase can continue on the next line.
            let counted = hits(previous).len();
            let found = hits(&format!("{previous} {part}"));
            let new = found.iter().skip(counted);
            places.extend(new.map(|word| format!("{path}:{} `{word}`", index + 1)));
            previous = part;
        }
    }
    let allowed = words / WORDS_PER_VAGUE_WORD;
    (places.len() > allowed).then(|| Violation {
        rule: "plain language".to_owned(),
        location: folder.to_owned(),
        message: format!(
            "{} vague words in {words} words of comments; the limit is {allowed}:\n    {}",
            places.len(),
            places.get(..SHOWN.min(places.len())).unwrap_or_default().join("\n    ")
        ),
        fix: "name the subject and the action; see docs/glossary.md".to_owned(),
    })
}

/// Returns the text of a line that is only a comment.
fn comment_of(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    Some(text.strip_prefix(['/', '!']).unwrap_or(text))
}

fn word_count(text: &str) -> usize {
    text.split(|c: char| !(c.is_ascii_alphabetic() || c == '\'')).filter(|w| !w.is_empty()).count()
}

/// Returns the vague words in `comment`, in order of their ends.
fn hits(comment: &str) -> Vec<&'static str> {
    let spaced = comment.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for phrase in VAGUE {
        for (start, _) in spaced.match_indices(phrase) {
            let (before, rest) = spaced.split_at(start);
            let (_, after) = rest.split_at(phrase.len());
            if !before.ends_with(is_word) && !after.starts_with(is_word) {
                found.push((start + phrase.len(), phrase));
            }
        }
    }
    found.sort_unstable();
    found.into_iter().map(|(_, phrase)| phrase).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree_of;
    use super::*;

    #[track_caller]
    fn check_source(path: &str, text: &str, expected: &[&str]) {
        let package = Package { folder: "crates/a".to_owned(), ..Package::default() };
        let found = check(&tree_of(&[(path, text)]), &[package]);
        let places: Vec<_> = found
            .iter()
            .flat_map(|violation| violation.message.lines().skip(1))
            .map(str::trim)
            .collect();
        assert_eq!(places, expected, "{text}");
    }

    #[test]
    fn vague_words_in_comments_are_violations() {
        check_source("crates/a/src/b.rs", "/// Tells it.\n", &["crates/a/src/b.rs:1 `tells`"]);
        check_source("crates/a/src/b.rs", "//! So many\n", &["crates/a/src/b.rs:1 `so many`"]);
        // A phrase across lines counts at its end; one across code does not count.
        check_source("crates/a/b.rs", "// at\n// once\n", &["crates/a/b.rs:2 `at once`"]);
        check_source("crates/a/b.rs", "// at\nlet a = 1;\n// once\n", &[]);
    }

    #[test]
    fn code_longer_words_and_other_crates_are_ignored() {
        check_source("crates/a/src/b.rs", "let told = \"told\"; // told\n", &[]);
        check_source("crates/a/src/b.rs", "// untold retold_it\n", &[]);
        check_source("crates/a/src/gen/b.rs", "// told\n", &[]);
        check_source("crates/ab/src/b.rs", "// told\n", &[]);
        check_source("crates/a/docs/b.md", "// told\n", &[]);
    }

    #[test]
    fn limit_grows_with_the_number_of_words() {
        let words = |count: usize| format!("{}// told\n", "// word\n".repeat(count - 1));
        check_source("crates/a/b.rs", &words(2_000), &[]);
        check_source("crates/a/b.rs", &words(1_999), &["crates/a/b.rs:1999 `told`"]);
    }
}
