//! Manifests inherit what the workspace says once: lints, metadata, and the versions of dependencies.

use super::{Tree, Violation};

const INHERITED: [&str; 6] =
    ["version", "edition", "rust-version", "license", "repository", "publish"];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in tree {
        // The one at the root is the workspace's own.
        // A workspace of its own inherits nothing.
        if let (Some(folder), Some(text)) = (path.strip_suffix("/Cargo.toml"), text)
            && !text.lines().any(|line| line == "[workspace]")
        {
            found.extend(check_manifest(path, folder, text));
        }
    }
    found
}

fn check_manifest(path: &str, folder: &str, text: &str) -> Vec<Violation> {
    let violation = |fault: String, fix: String| Violation {
        rule: "manifests".to_owned(),
        place: path.to_owned(),
        fault,
        fix,
    };
    let lines = lines_of(text);
    let has = |section: &str, wanted: &str| {
        lines.iter().any(|line| line.section == section && line.text == wanted)
    };

    let mut found = Vec::new();
    for key in INHERITED {
        let wanted = format!("{key}.workspace = true");
        if !has("package", &wanted) {
            found.push(violation(
                format!("`{key}` is not the workspace's"),
                format!("write `{wanted}` under [package]"),
            ));
        }
    }
    let name = folder.rsplit('/').next().unwrap_or(folder);
    if !has("package", &format!("name = \"{name}\"")) {
        found.push(violation(
            "the package is not named as its folder".to_owned(),
            format!("write `name = \"{name}\"`"),
        ));
    }
    if !lines
        .iter()
        .any(|line| line.section == "package" && line.text.starts_with("description = \""))
    {
        found.push(violation(
            "no description".to_owned(),
            "say in one sentence what the crate is".to_owned(),
        ));
    }
    if !has("lints", "workspace = true") {
        found.push(violation(
            "the workspace's lints do not apply".to_owned(),
            "write `workspace = true` under [lints]".to_owned(),
        ));
    }
    for line in lines.iter().filter(|line| line.section.ends_with("dependencies")) {
        let compact: String = line.text.split_whitespace().collect();
        if !compact.contains("workspace=true") {
            let fix = "put the version into [workspace.dependencies], and write `….workspace = true` here";
            found.push(violation(
                format!("`{}` has a version of its own", line.text),
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

/// The lines that say something, each with the table it belongs to. Our manifests keep to one line for each value.
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
    fn check_changed(from: &str, to: &str, fault: &str) {
        assert!(GOOD.contains(from));
        let found = check(&tree_of(&[("crates/a/Cargo.toml", &GOOD.replace(from, to))]));
        assert_eq!(found.into_iter().map(|violation| violation.fault).collect::<Vec<_>>(), [fault]);
    }

    #[test]
    fn a_manifest_that_inherits_everything_passes() {
        assert_eq!(
            check(&tree_of(&[("crates/a/Cargo.toml", GOOD), ("Cargo.toml", "[workspace]\n")])),
            []
        );
    }

    #[test]
    fn each_thing_not_inherited_is_told() {
        check_changed(
            "edition.workspace = true",
            "edition = \"2024\"",
            "`edition` is not the workspace's",
        );
        check_changed("[lints]\nworkspace = true\n", "", "the workspace's lints do not apply");
        check_changed(
            "serde.workspace = true",
            "serde = \"1\"",
            "`serde = \"1\"` has a version of its own",
        );
        check_changed("description = \"A crate.\"\n", "", "no description");
        check_changed("name = \"a\"", "name = \"b\"", "the package is not named as its folder");
    }
}
