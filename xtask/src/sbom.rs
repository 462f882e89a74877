//! `cargo xtask sbom`: writes the server's software bill of materials as a `CycloneDX` document.

use crate::tools;
use anyhow::{Context as _, Result};
use cargo_metadata::MetadataCommand;
use serde_json::Value;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// The crate whose binary is described.
const SERVER: &str = "connector-server";

/// Output directory below the target directory.
const FOLDER: &str = "sbom";

/// Flags of `sbom`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Features that the server is built with, comma-separated.
    #[arg(long, value_name = "FEATURES", default_value = "")]
    features: String,
    /// Leaves out the default features.
    #[arg(long)]
    no_default_features: bool,
    /// Target triple that the server is built for. The default is this machine's.
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
}

/// Writes the document and prints its path.
pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    let document = write(sh, args)?;
    println!("{}", document.display());
    Ok(())
}

/// Writes the document for a server with every feature.
pub(crate) fn write_full(sh: &Shell) -> Result<PathBuf> {
    let metadata = MetadataCommand::new().current_dir(sh.current_dir()).no_deps().exec()?;
    let server = metadata.packages.iter().find(|package| package.name == SERVER);
    let features: Vec<&str> =
        server.into_iter().flat_map(|server| server.features.keys()).map(String::as_str).collect();
    write(sh, &Args { features: features.join(","), ..Args::default() })
}

fn target(sh: &Shell) -> Result<PathBuf> {
    let metadata = MetadataCommand::new().current_dir(sh.current_dir()).no_deps().exec()?;
    Ok(metadata.target_directory.into_std_path_buf())
}

fn write(sh: &Shell, args: &Args) -> Result<PathBuf> {
    let target_folder = target(sh)?;
    let program = tools::cargo_cyclonedx(sh, &target_folder)?;
    let manifest = Path::new("crates").join(SERVER).join("Cargo.toml");
    let mut features = vec!["--features", args.features.as_str()];
    if args.no_default_features {
        features.push("--no-default-features");
    }
    let target: Vec<&str> =
        args.target.iter().flat_map(|triple| ["--target", triple.as_str()]).collect();
    let (features, target) = (features.as_slice(), target.as_slice());
    let tree = ["--edges", "normal", "--prefix", "none", "--format", "{p}", "--locked"];
    let linked = cmd!(sh, "cargo tree --package {SERVER} {features...} {target...} {tree...}")
        .quiet()
        .read()
        .context("cannot list the dependencies; check the target and the features")?;
    // cargo-cyclonedx writes one document per binary beside each manifest.
    cmd!(
        sh,
        "{program} cyclonedx --manifest-path {manifest} --quiet --format json --spec-version 1.5 --describe binaries --no-build-deps {features...} {target...}"
    )
    .run()
    .context("cannot list the dependencies")?;
    let mut document = None;
    let members = sh.read_dir("crates")?.into_iter().chain([PathBuf::from("xtask")]);
    for member in members.filter(|member| member.is_dir()) {
        for file in sh.read_dir(&member)? {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.ends_with("_bin.cdx.json") {
                continue;
            }
            if name.starts_with(SERVER) {
                document = Some(sh.read_file(&file)?);
            }
            sh.remove_path(&file)?;
        }
    }
    let document = document.context("cargo-cyclonedx wrote no document for the server")?;
    let mut document: Value = serde_json::from_str(&document)?;
    keep_linked(&mut document, &linked);
    let folder = target_folder.join(FOLDER);
    sh.create_dir(&folder)?;
    let path = folder.join(format!("{SERVER}.cdx.json"));
    // Remove the local path, so that the document is reproducible.
    let here = format!("path+file://{}", sh.current_dir().display());
    let text = serde_json::to_string_pretty(&document)?.replace(&here, "path+file://");
    sh.write_file(&path, text)?;
    Ok(path)
}

/// Removes components that are not linked into the server: crates behind features that are off. `tree` is the output of
/// `cargo tree`, one `name v1.2.3` per line.
fn keep_linked(document: &mut Value, tree: &str) {
    let linked: HashSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(" v")?;
            Some((name, rest.split(' ').next()?))
        })
        .collect();
    let text =
        |component: &Value, key| component.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut kept: HashSet<String> = document
        .pointer("/metadata/component")
        .and_then(|server| text(server, "bom-ref"))
        .into_iter()
        .collect();
    if let Some(components) = document.get_mut("components").and_then(Value::as_array_mut) {
        components.retain(|component| {
            let (name, version) = (text(component, "name"), text(component, "version"));
            name.zip(version).is_some_and(|(name, version)| linked.contains(&(&name, &version)))
        });
        kept.extend(components.iter().filter_map(|component| text(component, "bom-ref")));
    }
    if let Some(entries) = document.get_mut("dependencies").and_then(Value::as_array_mut) {
        entries.retain(|entry| text(entry, "ref").is_some_and(|name| kept.contains(&name)));
        for on in entries.iter_mut().filter_map(|entry| entry.get_mut("dependsOn")?.as_array_mut())
        {
            on.retain(|name| name.as_str().is_some_and(|name| kept.contains(name)));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unlinked_components_are_removed() {
        let component = |name: &str, version: &str| json!({"name": name, "version": version, "bom-ref": format!("{name}#{version}")});
        let mut document = json!({
            "metadata": {"component": component("server", "0.1.0")},
            "components": [component("a", "1.0.0"), component("a", "2.0.0"), component("b", "1.0.0")],
            "dependencies": [
                {"ref": "server#0.1.0", "dependsOn": ["a#1.0.0", "b#1.0.0"]},
                {"ref": "a#1.0.0", "dependsOn": ["a#2.0.0"]},
                {"ref": "b#1.0.0"},
            ],
        });
        keep_linked(&mut document, "server v0.1.0 (/x)\na v1.0.0\nb v0.9.0\na v1.0.0 (*)\n");
        assert_eq!(document["components"], json!([component("a", "1.0.0")]));
        assert_eq!(
            document["dependencies"],
            json!([{"ref": "server#0.1.0", "dependsOn": ["a#1.0.0"]}, {"ref": "a#1.0.0", "dependsOn": []}])
        );
    }
}
