//! `cargo xtask tidy`: checks the conventions of this repository.
//!
//! Each rule is a pure function from file contents to [`Violation`]s; this module reads the files and prints the result.

mod citations;
mod language;
mod layers;
mod links;
mod manifests;
mod sources;

use anyhow::{Context as _, Result, bail};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use xshell::{Shell, cmd};

/// Directories that are not checked.
const SKIPPED_FOLDERS: [&str; 3] = [".git", ".tools", "target"];

/// One violation of a rule, with its fix.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    /// Name of the rule, with its number for the layer rules.
    rule: String,
    /// File, and line if known.
    location: String,
    message: String,
    fix: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}: {}\n    fix: {}", self.rule, self.location, self.message, self.fix)
    }
}

/// Contents of the repository's files by path, relative to the root, with forward slashes. `None` for binary files.
type Tree = BTreeMap<String, Option<String>>;

/// Checks the repository. Prints every violation, then fails if there is one.
pub(crate) fn run(sh: &Shell) -> Result<()> {
    let mut tree = Tree::new();
    read_tree(sh, &sh.current_dir(), "", &mut tree)?;
    let packages = layers::packages(&sh.current_dir())?;

    let example = cmd!(sh, "cargo tree --package batch-connector --all-features --prefix none")
        .quiet()
        .read()?;

    let mut violations = layers::check(&packages);
    violations.extend(layers::check_example(&example));
    violations.extend(manifests::check(&tree));
    violations.extend(sources::check(&tree, &packages));
    violations.extend(links::check(&tree));
    violations.extend(citations::check(&tree));
    violations.extend(language::check(&tree, &packages));

    for violation in &violations {
        println!("{violation}");
    }
    match violations.len() {
        0 => {
            println!("tidy: {} files and {} crates checked", tree.len(), packages.len());
            Ok(())
        }
        count => bail!("tidy found {count} violation{}", if count == 1 { "" } else { "s" }),
    }
}

fn read_tree(sh: &Shell, dir: &Path, prefix: &str, tree: &mut Tree) -> Result<()> {
    for path in sh.read_dir(dir)? {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("the name of {} is not UTF-8", path.display()))?;
        let shown = format!("{prefix}{name}");
        if path.is_dir() {
            if !SKIPPED_FOLDERS.contains(&name) {
                read_tree(sh, &path, &format!("{shown}/"), tree)?;
            }
        } else {
            tree.insert(shown, String::from_utf8(sh.read_binary_file(&path)?).ok());
        }
    }
    Ok(())
}

/// Builds a tree from pairs of path and text.
#[cfg(test)]
fn tree_of(files: &[(&str, &str)]) -> Tree {
    files.iter().map(|(path, text)| ((*path).to_owned(), Some((*text).to_owned()))).collect()
}
