//! Which crate may see which. A crate sees what its manifest names; what only tests use is free.
//!
//! 1. `databricks-client` stands alone: no other crate of ours.
//! 2. `connector-core` sees neither a transport nor a runtime, and takes `flyteidl2` without features. `flyteidl2`
//!    itself takes no crate of ours.
//! 3. `databricks-connector` sees neither tonic nor reqwest, and takes `flyteidl2` without features.
//! 4. `connector-server` does not name `databricks-client`: a connector brings its own configuration.
//! 5. A crate with a job has one place: see [`RESERVED`].
//! 6. No third-party type in a public signature. That one is left to review.
//! 7. No build script.
//! 8. Every crate has a line in [`EDGES`].
//! 9. `databricks-emulator` and `xtask` take no crate of ours.
//! 10. `flyte-executor-model` is for tests and the soak: no other crate names it, and it sees a connector from the
//!     outside alone.

use super::Violation;
use anyhow::{Context as _, Result};
use cargo_metadata::{DependencyKind, MetadataCommand, TargetKind};
use std::path::Path;

/// A crate of the workspace, as far as the rules look.
#[derive(Debug, Default)]
pub(super) struct Package {
    pub(super) name: String,
    /// The folder of its manifest, from the repository's root, without a final slash.
    pub(super) folder: String,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) has_build_script: bool,
    /// The root files of its library and binaries, from the repository's root.
    pub(super) roots: Vec<String>,
}

/// A dependency that is not for tests alone.
#[derive(Debug)]
pub(super) struct Dependency {
    pub(super) name: String,
    pub(super) features: Vec<String>,
}

/// For each crate of ours: the rule, and the crates of ours that it may name.
const EDGES: [(&str, u8, &[&str]); 8] = [
    ("flyteidl2", 2, &[]),
    ("connector-core", 2, &["flyteidl2"]),
    ("databricks-client", 1, &[]),
    ("databricks-connector", 3, &["flyteidl2", "connector-core", "databricks-client"]),
    ("databricks-emulator", 9, &[]),
    (
        "connector-server",
        4,
        &["flyteidl2", "connector-core", "databricks-connector", "databricks-emulator"],
    ),
    ("flyte-executor-model", 10, &["flyteidl2", "databricks-emulator"]),
    ("xtask", 9, &[]),
];

/// For each crate with a ban of its own: the rule, and what it may not name.
const BANNED: [(&str, u8, &[&str]); 2] = [
    ("connector-core", 2, &["tonic", "reqwest", "hyper", "tokio"]),
    ("databricks-connector", 3, &["tonic", "reqwest", "hyper"]),
];

/// Rule 5: crates with a job, and the only crates of ours that may name them.
const RESERVED: [(&[&str], &[&str]); 6] = [
    (&["tonic-prost-build", "protox", "anyhow", "cargo_metadata", "xshell"], &["xtask"]),
    (&["tonic"], &["flyteidl2", "connector-server", "flyte-executor-model"]),
    (&["reqwest"], &["databricks-client"]),
    (&["clap"], &["connector-server", "databricks-emulator", "flyte-executor-model", "xtask"]),
    (&["tracing-subscriber"], &["connector-server", "databricks-emulator"]),
    (&["prometheus-client"], &["connector-server"]),
];

/// The crates that speak gRPC; the others take the messages alone.
const FEATURES_OF_FLYTEIDL2: &[&str] = &["connector-server", "flyte-executor-model"];

/// Reads the workspace. It asks cargo for the manifests alone, so nothing is resolved or downloaded.
pub(super) fn packages(root: &Path) -> Result<Vec<Package>> {
    let metadata = MetadataCommand::new()
        .current_dir(root)
        .no_deps()
        .exec()
        .context("`cargo metadata` failed")?;
    let from_root = |path: &Path| -> String {
        path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
    };
    let mut packages = Vec::new();
    for package in metadata.workspace_packages() {
        let folder = package.manifest_path.parent().context("a manifest lies in no folder")?;
        let mut found = Package {
            name: package.name.to_string(),
            folder: from_root(folder.as_std_path()),
            ..Package::default()
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development)
        {
            found.dependencies.push(Dependency {
                name: dependency.name.clone(),
                features: dependency.features.clone(),
            });
        }
        for target in &package.targets {
            found.has_build_script |= target.kind.contains(&TargetKind::CustomBuild);
            if target.kind.iter().any(|kind| {
                matches!(kind, TargetKind::Lib | TargetKind::Bin | TargetKind::ProcMacro)
            }) {
                found.roots.push(from_root(target.src_path.as_std_path()));
            }
        }
        packages.push(found);
    }
    Ok(packages)
}

/// Rules 1 to 5 and 7 to 10.
pub(super) fn check(packages: &[Package]) -> Vec<Violation> {
    packages.iter().flat_map(|package| check_package(package, packages)).collect()
}

fn check_package(package: &Package, all: &[Package]) -> Vec<Violation> {
    let violation = |rule: u8, fault: String, fix: String| Violation {
        rule: format!("layers {rule}"),
        place: format!("{}/Cargo.toml", package.folder),
        fault,
        fix,
    };
    let mut found = Vec::new();
    if package.has_build_script {
        let fix = "generate in `cargo xtask codegen` and commit the result";
        found.push(violation(7, "has a build script".to_owned(), fix.to_owned()));
    }
    let Some((_, edge_rule, allowed)) = EDGES.iter().find(|(name, ..)| *name == package.name)
    else {
        let fix = "say in xtask/src/tidy/layers.rs, EDGES, which of our crates it may name";
        found.push(violation(
            8,
            format!("`{}` has no place among the layers", package.name),
            fix.to_owned(),
        ));
        return found;
    };
    for dependency in &package.dependencies {
        let is_ours = all.iter().any(|other| other.name == dependency.name);
        let broken = if is_ours {
            check_ours(&package.name, dependency, *edge_rule, allowed)
        } else {
            check_foreign(&package.name, &dependency.name)
        };
        found.extend(broken.map(|(rule, fault, fix)| violation(rule, fault, fix)));
    }
    found
}

/// The rule that an edge breaks, the fault, and the fix.
type Broken = (u8, String, String);

/// An edge to another crate of ours.
fn check_ours(of: &str, to: &Dependency, rule: u8, allowed: &[&str]) -> Option<Broken> {
    let name = to.name.as_str();
    if !allowed.contains(&name) {
        let fix = match allowed {
            [] => "remove the dependency: this crate takes none of ours".to_owned(),
            _ => format!("remove the dependency: of ours it may name {}", listed(allowed)),
        };
        return Some((rule, format!("`{of}` may not depend on `{name}`"), fix));
    }
    let speaks_grpc = name == "flyteidl2" && !to.features.is_empty();
    (speaks_grpc && !FEATURES_OF_FLYTEIDL2.contains(&of)).then(|| {
        let fault = format!("`{of}` takes `flyteidl2` with features {:?}", to.features);
        (rule, fault, "take the messages alone: leave the features out".to_owned())
    })
}

/// An edge to somebody else's crate.
fn check_foreign(of: &str, name: &str) -> Option<Broken> {
    let within = |names: &[&str]| names.iter().any(|family| is_of_family(name, family));
    if let Some((_, rule, _)) =
        BANNED.iter().find(|(owner, _, names)| *owner == of && within(names))
    {
        let fix = "do it in the layer above, and pass the result in";
        return Some((*rule, format!("`{of}` may not see `{name}`"), fix.to_owned()));
    }
    let (_, owners) = RESERVED.iter().find(|(names, _)| within(names))?;
    (!owners.contains(&of)).then(|| {
        let fix = format!("move what needs it to {}", listed(owners));
        (5, format!("`{of}` may not depend on `{name}`"), fix)
    })
}

/// `tonic-health` is of tonic's family as much as tonic is. The first match in [`RESERVED`] counts.
fn is_of_family(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[&str]) -> Package {
        Package {
            name: name.to_owned(),
            folder: format!("crates/{name}"),
            dependencies: dependencies
                .iter()
                .map(|name| Dependency { name: (*name).to_owned(), features: vec![] })
                .collect(),
            ..Package::default()
        }
    }

    /// The workspace with one more dependency for one crate: which rule does it break?
    #[track_caller]
    fn check_edge(name: &str, dependency: &str, wanted: Option<u8>) {
        let mut all: Vec<_> =
            EDGES.iter().map(|(name, _, allowed)| package(name, allowed)).collect();
        assert_eq!(check(&all), [], "the layers themselves break a rule");
        let changed = all.iter_mut().find(|package| package.name == name).unwrap();
        changed.dependencies.push(Dependency { name: dependency.to_owned(), features: vec![] });
        let rules: Vec<_> = check(&all).into_iter().map(|violation| violation.rule).collect();
        assert_eq!(
            rules,
            Vec::from_iter(wanted.map(|rule| format!("layers {rule}"))),
            "{name} → {dependency}"
        );
    }

    #[test]
    fn each_wrong_edge_names_its_rule() {
        check_edge("databricks-client", "flyteidl2", Some(1));
        check_edge("databricks-client", "connector-core", Some(1));
        check_edge("flyteidl2", "connector-core", Some(2));
        check_edge("connector-core", "tokio", Some(2));
        check_edge("connector-core", "hyper-util", Some(2));
        check_edge("connector-core", "tonic-types", Some(2));
        check_edge("connector-core", "reqwest", Some(2));
        check_edge("connector-core", "databricks-client", Some(2));
        check_edge("databricks-connector", "tonic", Some(3));
        check_edge("databricks-connector", "reqwest", Some(3));
        check_edge("databricks-connector", "databricks-emulator", Some(3));
        check_edge("connector-server", "databricks-client", Some(4));
        check_edge("connector-server", "reqwest", Some(5));
        check_edge("connector-server", "anyhow", Some(5));
        check_edge("flyteidl2", "tonic-prost-build", Some(5));
        check_edge("databricks-client", "tonic", Some(5));
        check_edge("databricks-client", "clap", Some(5));
        check_edge("databricks-connector", "tracing-subscriber", Some(5));
        check_edge("databricks-emulator", "databricks-client", Some(9));
        check_edge("xtask", "flyteidl2", Some(9));
    }

    #[test]
    fn each_right_edge_passes() {
        check_edge("flyteidl2", "tonic-prost", None);
        check_edge("databricks-client", "reqwest", None);
        check_edge("databricks-connector", "tokio", None);
        check_edge("connector-server", "tonic-reflection", None);
        check_edge("databricks-emulator", "clap", None);
        check_edge("xtask", "tonic-prost-build", None);
        check_edge("connector-core", "tokio-like-name", Some(2));
        check_edge("connector-core", "tokiox", None);
    }

    #[test]
    fn only_the_server_takes_the_bindings_with_features() {
        let with_client = |name: &str| {
            let mut package = package(name, &["flyteidl2"]);
            package.dependencies.first_mut().unwrap().features.push("client".to_owned());
            check(&[package, self::package("flyteidl2", &[])])
        };
        assert_eq!(with_client("connector-server"), []);
        assert_eq!(with_client("connector-core").first().unwrap().rule, "layers 2");
        assert_eq!(with_client("databricks-connector").first().unwrap().rule, "layers 3");
    }

    #[test]
    fn a_build_script_and_a_crate_without_a_place_are_told() {
        let with_script = Package { has_build_script: true, ..package("flyteidl2", &[]) };
        assert_eq!(check(&[with_script]).first().unwrap().rule, "layers 7");
        assert_eq!(check(&[package("newcomer", &[])]).first().unwrap().rule, "layers 8");
    }

    #[test]
    fn the_message_names_the_manifest_the_fault_and_the_fix() {
        let shown = check(&[package("databricks-client", &["clap"])]).first().unwrap().to_string();
        assert_eq!(
            shown,
            "[layers 5] crates/databricks-client/Cargo.toml: `databricks-client` may not depend on `clap`\n    \
             fix: move what needs it to `connector-server`, `databricks-emulator`, `flyte-executor-model`, `xtask`"
        );
    }
}
