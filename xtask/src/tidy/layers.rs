//! Checks the dependencies between crates. Development dependencies are exempt.
//!
//! 1. `databricks-client` depends on no crate of this workspace.
//! 2. `connector-core` depends on no transport and no runtime, and uses `flyteidl2` without features. `flyteidl2`
//!    depends on no crate of this workspace.
//! 3. `databricks-connector` depends on neither tonic nor reqwest, and uses `flyteidl2` without features.
//! 4. `connector-server` does not depend on `databricks-client`: a connector has its own configuration type.
//!    `connector-service` depends on no `databricks-*` crate: it serves any connector.
//! 5. Some external crates are reserved for certain crates: see [`RESERVED`].
//! 6. No third-party type in a public signature. Checked in review.
//! 7. No build script.
//! 8. Every crate has an entry in [`EDGES`].
//! 9. `databricks-emulator` and `xtask` depend on no crate of this workspace.
//! 10. `flyte-executor-model` is for tests and the soak: no other crate depends on it, and it calls connectors over gRPC.
//! 11. `task-storage` depends on `flyteidl2` only, and uses it without features.
//! 12. `batch-connector`, the example, depends on `connector-core` and `connector-service` only: a connector needs no more.
//!     Its `cargo tree`, development dependencies included, names no `databricks-*` crate.

use super::Violation;
use anyhow::{Context as _, Result};
use cargo_metadata::{DependencyKind, MetadataCommand, TargetKind};
use std::{collections::BTreeSet, path::Path};

/// A crate of the workspace, reduced to what the rules check.
#[derive(Debug, Default)]
pub(super) struct Package {
    /// The name of its directory: a package can have another name on crates.io.
    pub(super) name: String,
    /// Directory of its manifest, relative to the root, without a trailing slash.
    pub(super) folder: String,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) has_build_script: bool,
    /// Root files of its library and binaries, relative to the root.
    pub(super) roots: Vec<String>,
}

/// A normal or build dependency.
#[derive(Debug)]
pub(super) struct Dependency {
    /// The name of the directory of a crate of this workspace, else the name of the package.
    pub(super) name: String,
    pub(super) features: Vec<String>,
}

/// For each crate: the rule, and the workspace crates that it may depend on.
const EDGES: [(&str, u8, &[&str]); 11] = [
    ("flyteidl2", 2, &[]),
    ("connector-core", 2, &["flyteidl2"]),
    ("databricks-client", 1, &[]),
    ("task-storage", 11, &["flyteidl2"]),
    (
        "databricks-connector",
        3,
        &["flyteidl2", "connector-core", "databricks-client", "task-storage"],
    ),
    ("databricks-emulator", 9, &[]),
    ("connector-service", 4, &["flyteidl2", "connector-core"]),
    (
        "connector-server",
        4,
        &[
            "flyteidl2",
            "connector-core",
            "connector-service",
            "databricks-connector",
            "databricks-emulator",
        ],
    ),
    ("flyte-executor-model", 10, &["flyteidl2", "databricks-emulator"]),
    ("xtask", 9, &[]),
    ("batch-connector", 12, &["connector-core", "connector-service"]),
];

/// For some crates: the rule, and the external crates that they may not depend on.
const BANNED: [(&str, u8, &[&str]); 2] = [
    ("connector-core", 2, &["tonic", "reqwest", "hyper", "tokio"]),
    ("databricks-connector", 3, &["tonic", "reqwest", "hyper"]),
];

/// Rule 5: external crates, and the only workspace crates that may depend on them.
const RESERVED: [(&[&str], &[&str]); 7] = [
    (&["tonic-prost-build", "protox", "anyhow", "cargo_metadata", "xshell"], &["xtask"]),
    (&["tonic"], &["flyteidl2", "connector-service", "connector-server", "flyte-executor-model"]),
    (&["reqwest"], &["databricks-client", "batch-connector"]),
    (&["object_store"], &["task-storage"]),
    (
        &["clap"],
        &[
            "connector-service",
            "connector-server",
            "databricks-emulator",
            "flyte-executor-model",
            "xtask",
            "batch-connector",
        ],
    ),
    (&["tracing-subscriber"], &["connector-service", "databricks-emulator"]),
    (&["prometheus-client"], &["connector-core", "connector-service", "databricks-connector"]),
];

/// The crates that use gRPC; the others use only the messages of `flyteidl2`.
const FEATURES_OF_FLYTEIDL2: &[&str] =
    &["connector-service", "connector-server", "flyte-executor-model"];

/// Reads the manifests of the workspace, without resolving dependencies.
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
        let folder =
            package.manifest_path.parent().context("a manifest has no parent directory")?;
        let mut found = Package {
            name: folder.file_name().unwrap_or_default().to_owned(),
            folder: from_root(folder.as_std_path()),
            ..Package::default()
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development)
        {
            found.dependencies.push(Dependency {
                name: match dependency.path.as_ref().and_then(|path| path.file_name()) {
                    Some(folder) => folder.to_owned(),
                    None => dependency.name.clone(),
                },
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

/// Rules 1 to 5 and 7 to 12.
pub(super) fn check(packages: &[Package]) -> Vec<Violation> {
    packages.iter().flat_map(|package| check_package(package, packages)).collect()
}

/// Rule 12, for everything that the example compiles. `tree` is the output of `cargo tree --prefix none`.
pub(super) fn check_example(tree: &str) -> Vec<Violation> {
    let crates: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| name.starts_with("databricks-"))
        .collect();
    crates
        .into_iter()
        .map(|name| Violation {
            rule: "layers 12".to_owned(),
            location: "examples/batch-connector/Cargo.toml".to_owned(),
            message: format!("the example compiles `{name}`"),
            fix: format!("find the way with `cargo tree -p batch-connector -i {name}`, and cut it"),
        })
        .collect()
}

fn check_package(package: &Package, all: &[Package]) -> Vec<Violation> {
    let violation = |rule: u8, message: String, fix: String| Violation {
        rule: format!("layers {rule}"),
        location: format!("{}/Cargo.toml", package.folder),
        message,
        fix,
    };
    let mut found = Vec::new();
    if package.has_build_script {
        let fix = "generate in `cargo xtask codegen` and commit the result";
        found.push(violation(7, "has a build script".to_owned(), fix.to_owned()));
    }
    let Some((_, edge_rule, allowed)) = EDGES.iter().find(|(name, ..)| *name == package.name)
    else {
        let fix = "add it to EDGES in xtask/src/tidy/layers.rs";
        found.push(violation(
            8,
            format!("`{}` has no entry in EDGES", package.name),
            fix.to_owned(),
        ));
        return found;
    };
    for dependency in &package.dependencies {
        let is_internal = all.iter().any(|other| other.name == dependency.name);
        let broken = if is_internal {
            check_internal(&package.name, dependency, *edge_rule, allowed)
        } else {
            check_external(&package.name, &dependency.name)
        };
        found.extend(broken.map(|(rule, message, fix)| violation(rule, message, fix)));
    }
    found
}

/// Number of the violated rule, description, and fix.
type Broken = (u8, String, String);

/// Checks a dependency on a crate of this workspace.
fn check_internal(of: &str, to: &Dependency, rule: u8, allowed: &[&str]) -> Option<Broken> {
    let name = to.name.as_str();
    if !allowed.contains(&name) {
        let fix = match allowed {
            [] => "remove it: this crate depends on no workspace crate".to_owned(),
            _ => format!("remove it: the allowed workspace crates are {}", listed(allowed)),
        };
        return Some((rule, format!("`{of}` may not depend on `{name}`"), fix));
    }
    let uses_grpc = name == "flyteidl2" && !to.features.is_empty();
    (uses_grpc && !FEATURES_OF_FLYTEIDL2.contains(&of)).then(|| {
        let message = format!("`{of}` uses `flyteidl2` with features {:?}", to.features);
        (rule, message, "use `flyteidl2` without features".to_owned())
    })
}

/// Checks a dependency on an external crate.
fn check_external(of: &str, name: &str) -> Option<Broken> {
    let within = |names: &[&str]| names.iter().any(|family| is_in_family(name, family));
    if let Some((_, rule, _)) =
        BANNED.iter().find(|(owner, _, names)| *owner == of && within(names))
    {
        let fix = "move the code to a higher layer and pass the result in";
        return Some((*rule, format!("`{of}` may not depend on `{name}`"), fix.to_owned()));
    }
    let (_, owners) = RESERVED.iter().find(|(names, _)| within(names))?;
    (!owners.contains(&of)).then(|| {
        let fix = format!("move the code that needs it to {}", listed(owners));
        (5, format!("`{of}` may not depend on `{name}`"), fix)
    })
}

/// True if `name` is `family` or starts with it and a hyphen: `tonic-health` belongs to `tonic`. The first match in
/// [`RESERVED`] applies.
fn is_in_family(name: &str, family: &str) -> bool {
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

    /// Adds one dependency to one crate, and compares the number of the violated rule.
    #[track_caller]
    fn check_edge(name: &str, dependency: &str, expected: Option<u8>) {
        let mut all: Vec<_> =
            EDGES.iter().map(|(name, _, allowed)| package(name, allowed)).collect();
        assert_eq!(check(&all), [], "EDGES itself violates a rule");
        let changed = all.iter_mut().find(|package| package.name == name).unwrap();
        changed.dependencies.push(Dependency { name: dependency.to_owned(), features: vec![] });
        let rules: Vec<_> = check(&all).into_iter().map(|violation| violation.rule).collect();
        assert_eq!(
            rules,
            Vec::from_iter(expected.map(|rule| format!("layers {rule}"))),
            "{name} → {dependency}"
        );
    }

    #[test]
    fn forbidden_dependency_names_its_rule() {
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
        check_edge("databricks-connector", "object_store", Some(5));
        check_edge("task-storage", "databricks-client", Some(11));
        check_edge("task-storage", "connector-core", Some(11));
        check_edge("connector-server", "databricks-client", Some(4));
        for name in ["databricks-client", "databricks-connector", "databricks-emulator"] {
            check_edge("connector-service", name, Some(4));
        }
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
    fn example_that_compiles_a_databricks_crate_is_a_violation() {
        let tree = "batch-connector v0.1.0 (/examples/batch-connector)\nconnector-core v0.1.0\nserde v1.0.0";
        assert_eq!(check_example(tree), []);
        let tree = format!("{tree}\ndatabricks-emulator v0.1.0\ndatabricks-emulator v0.1.0 (*)");
        assert_eq!(check_example(&tree).len(), 1);
    }

    #[test]
    fn allowed_dependency_passes() {
        check_edge("flyteidl2", "tonic-prost", None);
        check_edge("databricks-client", "reqwest", None);
        check_edge("databricks-connector", "tokio", None);
        check_edge("connector-service", "tonic-reflection", None);
        check_edge("databricks-emulator", "clap", None);
        check_edge("xtask", "tonic-prost-build", None);
        check_edge("connector-core", "tokio-like-name", Some(2));
        check_edge("connector-core", "tokiox", None);
    }

    #[test]
    fn only_grpc_crates_use_bindings_with_features() {
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
    fn build_script_and_unlisted_crate_are_violations() {
        let with_script = Package { has_build_script: true, ..package("flyteidl2", &[]) };
        assert_eq!(check(&[with_script]).first().unwrap().rule, "layers 7");
        assert_eq!(check(&[package("newcomer", &[])]).first().unwrap().rule, "layers 8");
    }

    #[test]
    fn violation_shows_manifest_fault_and_fix() {
        let shown = check(&[package("databricks-client", &["clap"])]).first().unwrap().to_string();
        assert_eq!(
            shown,
            "[layers 5] crates/databricks-client/Cargo.toml: `databricks-client` may not depend on `clap`\n    \
             fix: move the code that needs it to `connector-service`, `connector-server`, `databricks-emulator`, `flyte-executor-model`, `xtask`, `batch-connector`"
        );
    }
}
