//! Checks that manifests inherit lints, metadata and dependency versions from the workspace.

use super::{Tree, Violation};

const INHERITED: [&str; 6] =
    ["version", "edition", "rust-version", "license", "repository", "publish"];

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
    let name = folder.rsplit('/').next().unwrap_or(folder);
    if !has("package", &format!("name = \"{name}\"")) {
        found.push(violation(
            "the package name differs from its directory".to_owned(),
            format!("write `name = \"{name}\"`"),
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
            "the package name differs from its directory",
        );
    }
}
