//! Checks source files: names, lengths, and references outside the repository.

use super::layers::Package;
use super::{Tree, Violation};
use std::path::Path;

/// Maximum number of lines of a source file, without its tests.
const MAX_LINES: usize = 500;

const FORBID_UNSAFE: &str = "#![forbid(unsafe_code)]";

/// A directory outside the repository. Split, so that this line does not match itself.
const OUTSIDE: &str = concat!("..", "/shared");

pub(super) fn check(tree: &Tree, packages: &[Package]) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in tree {
        let Some(text) = text else { continue };
        found.extend(no_mod_rs(path));
        found.extend(length(path, text));
        found.extend(no_outside_paths(path, text));
    }
    for root in packages.iter().flat_map(|package| &package.roots) {
        if let Some(Some(text)) = tree.get(root) {
            found.extend(forbids_unsafe(root, text));
        }
    }
    found
}

fn no_mod_rs(path: &str) -> Option<Violation> {
    let folder = path.strip_suffix("/mod.rs")?;
    Some(Violation {
        rule: "no mod.rs".to_owned(),
        location: path.to_owned(),
        message: "modules are named after their file".to_owned(),
        fix: format!("move it to {folder}.rs"),
    })
}

fn length(path: &str, text: &str) -> Option<Violation> {
    let is_rust = Path::new(path).extension().is_some_and(|extension| extension == "rs");
    let is_exempt =
        path.contains("/tests/") || path.contains("/src/gen/") || path.ends_with("/tests.rs");
    let lines = code_lines(text);
    (is_rust && !is_exempt && lines > MAX_LINES).then(|| Violation {
        rule: "file length".to_owned(),
        location: path.to_owned(),
        message: format!("{lines} lines without its tests; the limit is {MAX_LINES}"),
        fix: "split it by responsibility".to_owned(),
    })
}

/// Counts the lines before the test module at the end of a file, or all lines if there is none.
fn code_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let is_test_module = |pair: &[&str]| matches!(pair, ["#[cfg(test)]", next] if next.starts_with("mod ") && next.ends_with('{'));
    let start = lines.windows(2).rposition(is_test_module);
    // The test module must be the last item, so that no code after it goes uncounted.
    let closings_after =
        |start: usize| lines.iter().skip(start).filter(|line| **line == "}").count();
    match start {
        Some(start) if closings_after(start) == 1 && lines.last() == Some(&"}") => start,
        _ => lines.len(),
    }
}

fn forbids_unsafe(path: &str, text: &str) -> Option<Violation> {
    (!text.lines().any(|line| line == FORBID_UNSAFE)).then(|| Violation {
        rule: "no unsafe code".to_owned(),
        location: path.to_owned(),
        message: format!("the crate root lacks `{FORBID_UNSAFE}`"),
        fix: format!("add `{FORBID_UNSAFE}` below the crate documentation"),
    })
}

fn no_outside_paths(path: &str, text: &str) -> Vec<Violation> {
    let hits = text.lines().enumerate().filter(|(_, line)| line.contains(OUTSIDE));
    hits.map(|(index, _)| Violation {
        rule: "self-contained".to_owned(),
        location: format!("{path}:{}", index + 1),
        message: format!("refers to {OUTSIDE}, which is not in the repository"),
        fix: "copy the content into the repository".to_owned(),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree_of;
    use super::*;

    fn rules(files: &[(&str, &str)]) -> Vec<String> {
        check(&tree_of(files), &[]).into_iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn mod_rs_violation_names_the_new_file() {
        let found = no_mod_rs("crates/a/src/b/mod.rs").unwrap();
        assert_eq!(found.fix, "move it to crates/a/src/b.rs");
        assert_eq!(no_mod_rs("crates/a/src/b.rs"), None);
        assert_eq!(no_mod_rs("crates/a/src/good_mod.rs"), None);
    }

    #[test]
    fn length_excludes_tests() {
        let at_limit = "fn a() {}\n".repeat(500);
        let over = "fn a() {}\n".repeat(501);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    #[test]\n".repeat(600));
        assert!(rules(&[("src/a.rs", &at_limit)]).is_empty());
        assert_eq!(rules(&[("src/a.rs", &over)]), ["file length"]);
        assert!(rules(&[("src/a.rs", &format!("{at_limit}{tests}"))]).is_empty());
        assert_eq!(rules(&[("src/a.rs", &format!("{over}{tests}"))]), ["file length"]);
        // Code after the tests counts.
        assert_eq!(rules(&[("src/a.rs", &format!("{tests}fn b() {{\n}}\n"))]), ["file length"]);
        for exempt in
            ["crates/a/tests/it/main.rs", "crates/a/src/gen/x.rs", "src/a/tests.rs", "docs/a.md"]
        {
            assert!(rules(&[(exempt, &over)]).is_empty(), "{exempt}");
        }
    }

    #[test]
    fn crate_root_must_forbid_unsafe_code() {
        let package = |root: &str| Package { roots: vec![root.to_owned()], ..Package::default() };
        let tree = tree_of(&[
            ("a.rs", "//! Doc.\n\n#![forbid(unsafe_code)]\n"),
            ("b.rs", "//! #![forbid(unsafe_code)]\n"),
        ]);
        assert_eq!(check(&tree, &[package("a.rs")]), []);
        assert_eq!(check(&tree, &[package("b.rs")]).first().unwrap().rule, "no unsafe code");
    }

    #[test]
    fn path_outside_the_repository_is_found_by_line() {
        let text = format!("one\nread {OUTSIDE}/DESIGN.md\n");
        let found = check(&tree_of(&[("README.md", &text)]), &[]);
        assert_eq!(found.first().unwrap().location, "README.md:2");
    }
}
