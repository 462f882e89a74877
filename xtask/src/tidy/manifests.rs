//! Checks that manifests inherit lints, metadata and dependency versions from the workspace, and that published crates
//! describe themselves for crates.io.

use super::{Tree, Violation};

const INHERITED: [&str; 5] = ["version", "edition", "rust-version", "license", "repository"];

/// The keys of a published crate, and the beginnings of their values.
const PUBLISHED: [(&str, &str); 4] = [
    ("readme", "\"README.md\""),
    ("keywords", "[\""),
    ("categories", "[\""),
    ("include.workspace", "true"),
];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in tree {
        // Skips the root manifest and separate workspaces, which inherit nothing.
        if let (Some(folder), Some(text)) = (path.strip_suffix("/Cargo.toml"), text)
            && !text.lines().any(|line| line == "[workspace]")
        {
            found.extend(check_manifest(path, folder, text));
        }
    }
    found
}

fn check_manifest(path: &str, folder: &str, text: &str) -> Vec<Violation> {
    let violation = |message: String, fix: String| Violation {
        rule: "manifests".to_owned(),
        location: path.to_owned(),
        message,
        fix,
    };
    let lines = lines_of(text);
    let has = |section: &str, expected: &str| {
        lines.iter().any(|line| line.section == section && line.text == expected)
    };

    let mut found = Vec::new();
    for key in INHERITED {
        let expected = format!("{key}.workspace = true");
        if !has("package", &expected) {
            found.push(violation(
                format!("`{key}` is not inherited"),
                format!("add `{expected}` to [package]"),
            ));
        }
    }
    if has("package", "publish = true") {
        for (key, value) in PUBLISHED {
            let expected = format!("{key} = {value}");
            let is_set = |line: &Line<'_>| {
                line.section == "package" && line.text.starts_with(expected.as_str())
            };
            if !lines.iter().any(is_set) {
                found.push(violation(
                    format!("a published crate has no `{key}`"),
                    format!("add `{expected}…` to [package]"),
                ));
            }
        }
    } else if !has("package", "publish.workspace = true") {
        found.push(violation(
            "`publish` is neither inherited nor true".to_owned(),
            "add `publish.workspace = true` to [package]".to_owned(),
        ));
    }
    let name = folder.rsplit('/').next().unwrap_or(folder);
    let expected = format!("name = \"{name}\"");
    // A package whose name is taken on crates.io has another one; its library does not.
    if !has("package", &expected) && !has("lib", &expected) {
        found.push(violation(
            "the names of package and library differ from the directory".to_owned(),
            format!("write `{expected}`"),
        ));
    }
    if !lines
        .iter()
        .any(|line| line.section == "package" && line.text.starts_with("description = \""))
    {
        found.push(violation(
            "no description".to_owned(),
            "describe the crate in one sentence".to_owned(),
        ));
    }
    if !has("lints", "workspace = true") {
        found.push(violation(
            "the workspace lints are not inherited".to_owned(),
            "add `workspace = true` to [lints]".to_owned(),
        ));
    }
    for line in lines.iter().filter(|line| line.section.ends_with("dependencies")) {
        let compact: String = line.text.split_whitespace().collect();
        if !compact.contains("workspace=true") {
            let fix =
                "move the version to [workspace.dependencies] and write `….workspace = true` here";
            found.push(violation(
                format!("`{}` does not inherit its version", line.text),
                fix.to_owned(),
            ));
        }
    }
    found
}

struct Line<'a> {
    section: &'a str,
    text: &'a str,
}

/// Returns the non-empty lines, each with the name of its table. Expects one line per value.
fn lines_of(text: &str) -> Vec<Line<'_>> {
    let mut section = "";
    let mut lines = Vec::new();
    for line in
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => section = name.trim_matches(['[', ']']),
            None => lines.push(Line { section, text: line }),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::tree_of;
    use super::*;

    const GOOD: &str = r#"
[package]
name = "a"
description = "A crate."
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
repository.workspace = true
publish.workspace = true

[lints]
workspace = true

[dependencies]
# A reason.
serde.workspace = true
tonic = { workspace = true, optional = true }

[[test]]
name = "it"
"#;

    #[track_caller]
    fn check_changed(from: &str, to: &str, message: &str) {
        assert!(GOOD.contains(from));
        let found = check(&tree_of(&[("crates/a/Cargo.toml", &GOOD.replace(from, to))]));
        assert_eq!(
            found.into_iter().map(|violation| violation.message).collect::<Vec<_>>(),
            [message]
        );
    }

    #[test]
    fn complete_manifest_passes() {
        assert_eq!(
            check(&tree_of(&[("crates/a/Cargo.toml", GOOD), ("Cargo.toml", "[workspace]\n")])),
            []
        );
    }

    #[test]
    fn each_missing_inheritance_is_a_violation() {
        check_changed(
            "edition.workspace = true",
            "edition = \"2024\"",
            "`edition` is not inherited",
        );
        check_changed("[lints]\nworkspace = true\n", "", "the workspace lints are not inherited");
        check_changed(
            "serde.workspace = true",
            "serde = \"1\"",
            "`serde = \"1\"` does not inherit its version",
        );
        check_changed("description = \"A crate.\"\n", "", "no description");
        check_changed(
            "name = \"a\"",
            "name = \"b\"",
            "the names of package and library differ from the directory",
        );
    }

    #[test]
    fn package_with_another_name_keeps_the_name_of_its_library() {
        let renamed = GOOD.replace("name = \"a\"", "name = \"b\"");
        let renamed = renamed.replace("[lints]", "[lib]\nname = \"a\"\n\n[lints]");
        assert_eq!(check(&tree_of(&[("crates/a/Cargo.toml", &renamed)])), []);
    }

    #[test]
    fn published_crate_describes_itself() {
        let private = "publish.workspace = true";
        check_changed(private, "", "`publish` is neither inherited nor true");
        let complete = "publish = true\nreadme = \"README.md\"\nkeywords = [\"k\"]\ncategories = [\"c\"]\ninclude.workspace = true";
        let published = GOOD.replace(private, complete);
        assert_eq!(check(&tree_of(&[("crates/a/Cargo.toml", &published)])), []);
        for key in ["readme", "keywords", "categories", "include.workspace"] {
            let others: Vec<&str> =
                complete.lines().filter(|line| !line.starts_with(key)).collect();
            let missing = others.join("\n");
            check_changed(private, &missing, &format!("a published crate has no `{key}`"));
        }
    }
}
