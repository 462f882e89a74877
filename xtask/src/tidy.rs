//! `cargo xtask tidy`: the conventions of this repository, as code.
//!
//! Each rule is a pure function from what was read to [`Violation`]s; this module only reads and prints.

mod layers;
mod links;
mod manifests;
mod sources;

use anyhow::{Context as _, Result, bail};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use xshell::Shell;

/// Folders that hold nothing of ours.
const SKIPPED_FOLDERS: [&str; 3] = [".git", ".tools", "target"];

/// One broken rule, with the way out.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    /// The name of the rule, and its number where the rules have numbers.
    rule: String,
    /// The file, and the line where there is one.
    place: String,
    fault: String,
    fix: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}: {}\n    fix: {}", self.rule, self.place, self.fault, self.fix)
    }
}

/// Every file of the repository, by its path from the root with forward slashes. Bytes that are no text are `None`.
type Tree = BTreeMap<String, Option<String>>;

/// Checks the whole repository, and fails after printing every violation.
pub(crate) fn run(sh: &Shell) -> Result<()> {
    let mut tree = Tree::new();
    read_tree(sh, &sh.current_dir(), "", &mut tree)?;
    let packages = layers::packages(&sh.current_dir())?;

    let mut violations = layers::check(&packages);
    violations.extend(manifests::check(&tree));
    violations.extend(sources::check(&tree, &packages));
    violations.extend(links::check(&tree));

    for violation in &violations {
        println!("{violation}");
    }
    match violations.len() {
        0 => {
            println!("tidy: {} files and {} crates keep the rules", tree.len(), packages.len());
            Ok(())
        }
        count => bail!("tidy found {count} violation{}", if count == 1 { "" } else { "s" }),
    }
}

fn read_tree(sh: &Shell, dir: &Path, prefix: &str, tree: &mut Tree) -> Result<()> {
    for path in sh.read_dir(dir)? {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} is not named in UTF-8", path.display()))?;
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

/// A tree from pairs of path and text, for the tests of the rules.
#[cfg(test)]
fn tree_of(files: &[(&str, &str)]) -> Tree {
    files.iter().map(|(path, text)| ((*path).to_owned(), Some((*text).to_owned()))).collect()
}
