//! Checks that citations in comments resolve: headings of the reference pages, and paths below `docs/`. Rejects the
//! section sign.

use super::{Tree, Violation, links::anchors};
use std::collections::{BTreeMap, BTreeSet};

/// The pages that are cited as `<name>#<anchor>`.
const PAGES: [&str; 2] = ["databricks-api.md", "flyte-contract.md"];

/// The directory of [`PAGES`].
const FOLDER: &str = "docs/reference/";

/// The section sign. It cites documents that are not in the repository.
const SECTION_SIGN: char = '\u{a7}';

/// Extensions of files whose citations are checked.
const CHECKED: [&str; 7] = ["md", "proto", "py", "rs", "toml", "yaml", "yml"];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let headings: BTreeMap<&str, BTreeSet<String>> = PAGES
        .into_iter()
        .map(|page| {
            let text = tree.get(&format!("{FOLDER}{page}")).and_then(Option::as_deref);
            (page, anchors(text.unwrap_or_default()))
        })
        .collect();
    let mut found = Vec::new();
    for (path, text) in tree {
        let Some(text) = text else { continue };
        let is_checked =
            path.rsplit_once('.').is_some_and(|(_, extension)| CHECKED.contains(&extension));
        for (index, line) in text.lines().enumerate() {
            let violation = |message, fix: &str| Violation {
                rule: "citations".to_owned(),
                location: format!("{path}:{}", index + 1),
                message,
                fix: fix.to_owned(),
            };
            if line.contains(SECTION_SIGN) {
                let fix = "cite a heading of docs/reference/, or write `section` for an RFC";
                found.push(violation(format!("contains `{SECTION_SIGN}`"), fix));
            }
            if !is_checked {
                continue;
            }
            for path in cited_paths(line).filter(|path| !tree.contains_key(*path)) {
                found.push(violation(format!("`{path}` does not exist"), "correct the path"));
            }
            for (page, headings) in &headings {
                for anchor in cited(line, page).filter(|anchor| !headings.contains(*anchor)) {
                    let fix = format!("use the anchor of a heading in {FOLDER}{page}");
                    found.push(violation(format!("`{page}#{anchor}` names no heading"), &fix));
                }
            }
        }
    }
    found
}

/// Returns the anchors that `line` cites of `page`.
fn cited<'a>(line: &'a str, page: &'a str) -> impl Iterator<Item = &'a str> {
    line.split(page).skip(1).filter_map(|rest| {
        let rest = rest.strip_prefix('#')?;
        let is_anchor = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        rest.split(|c| !is_anchor(c)).next()
    })
}

/// Returns the files below `docs/` that a comment line names.
fn cited_paths(line: &str) -> impl Iterator<Item = &str> {
    let is_comment = ["//", "#"].iter().any(|mark| line.trim_start().starts_with(mark));
    let is_path = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    line.split(move |c| !is_path(c))
        .map(|word| word.trim_end_matches('.'))
        .filter(move |word| is_comment && word.starts_with("docs/") && word.contains(".md"))
}

#[cfg(test)]
mod tests {
    use super::super::tree_of;
    use super::*;

    #[track_caller]
    fn check_line(path: &str, line: &str, expected: &[&str]) {
        let page = ("docs/reference/databricks-api.md", "# Title\n\n## Runs get-output\n");
        let found = check(&tree_of(&[page, (path, line)]));
        let messages: Vec<_> = found.iter().map(|violation| violation.message.as_str()).collect();
        assert_eq!(messages, expected, "{path}: {line}");
    }

    #[test]
    fn citation_of_an_existing_heading_passes() {
        let [page, _] = PAGES;
        check_line("src/a.rs", &format!("/// Output ({page}#runs-get-output)."), &[]);
        check_line("docs/a.md", &format!("[text](reference/{page}), {page}"), &[]);
    }

    #[test]
    fn citation_of_a_missing_heading_is_a_violation() {
        let [page, other] = PAGES;
        let message = format!("`{page}#runs-put` names no heading");
        check_line("src/a.rs", &format!("// ({page}#runs-put)"), &[&message]);
        check_line(
            "a/b.proto",
            &format!("// {page}#runs-put, {page}#runs-get-output"),
            &[&message],
        );
        check_line("a/b.txt", &format!("{page}#runs-put"), &[]);
        let message = format!("`{other}#title` names no heading");
        check_line("deploy/a.yml", &format!("# {other}#title"), &[&message]);
    }

    #[test]
    fn comment_must_name_an_existing_page() {
        check_line("src/a.rs", "// See docs/reference/databricks-api.md.", &[]);
        check_line("a/b.toml", "# (docs/adr/0001.md)", &["`docs/adr/0001.md` does not exist"]);
        check_line("src/a.rs", "let page = \"docs/adr/0001.md\";", &[]);
    }

    #[test]
    fn section_sign_is_a_violation_in_any_text_file() {
        let message = format!("contains `{SECTION_SIGN}`");
        for path in ["src/a.rs", "README.md", "deploy/values.schema.json"] {
            check_line(path, &format!("RFC 9110 {SECTION_SIGN}5"), &[&message]);
        }
    }
}
