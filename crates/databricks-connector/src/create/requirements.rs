//! The pip requirements of a Flyte function. Pure.

/// Flyte's runtime, and what the plugin for Databricks needs of others: all its dependencies except `PySpark`, which the
/// platform has (flyte-contract.md#task-side).
const RUNTIME: [&str; 3] = ["flyte[connector]", "aiohttp", "nest-asyncio"];

/// Flyte's plugins that a task's module imports. They require `PySpark`, which must not replace the platform's
/// (databricks-api.md#serverless-environments).
const PLUGINS: [&str; 2] = ["flyteplugins-databricks", "flyteplugins-spark"];

/// Returns the requirements of Flyte's runtime at the version of the SDK that made the task.
pub(super) fn of_runtime(version: &str) -> Vec<String> {
    requirements(&RUNTIME, "==", version)
}

/// Returns the requirements of the plugins. Not every release of Flyte has one of each (flyte-contract.md#task-side).
pub(super) fn of_plugins(version: &str) -> Vec<String> {
    requirements(&PLUGINS, "<=", version)
}

/// Returns pip requirements. The relation holds for the packages of Flyte, if the version is that of a release.
fn requirements(packages: &[&str], relation: &str, version: &str) -> Vec<String> {
    let is_release = version.split('.').count() >= 2
        && version
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    let requirement = |package: &&str| {
        let relation = if is_release && package.starts_with("flyte") { relation } else { "" };
        let version = if relation.is_empty() { "" } else { version };
        format!("{package}{relation}{version}")
    };
    packages.iter().map(requirement).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_name_only_releases() {
        assert_eq!(
            requirements(&RUNTIME, "==", "2.5.16"),
            ["flyte[connector]==2.5.16", "aiohttp", "nest-asyncio"]
        );
        assert_eq!(
            requirements(&PLUGINS, "<=", "2.5.16"),
            ["flyteplugins-databricks<=2.5.16", "flyteplugins-spark<=2.5.16"]
        );
        for unreleased in ["", "2", "2.5.16b1", "0.1.dev1+g1", "2..1"] {
            assert_eq!(requirements(&PLUGINS, "<=", unreleased), PLUGINS, "{unreleased}");
        }
    }
}
