//! Where a job cluster delivers its driver logs. Pure.

use databricks_client::clusters::{Cluster, ClusterLogConf, LogFolder};

/// True if a cluster was created for a single run.
pub(super) fn is_job_cluster(cluster: &Cluster) -> bool {
    cluster.cluster_source.as_deref() == Some("JOB")
}

/// The folder with the logs of one driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A DBFS path.
    Dbfs(String),
    /// A path under `/Volumes`.
    Volume(String),
    /// An `s3://` URL, and the region of its bucket.
    S3 { url: String, region: Option<String> },
}

impl Destination {
    /// Returns the driver's folder: `<destination>/<cluster id>/driver` (databricks-api.md#delivered-logs). Databricks
    /// chooses the cluster id, so a user cannot make the path point at the logs of another cluster.
    ///
    /// Returns `None` if the cluster delivers no logs, and if it is not a job cluster: its logs contain other runs.
    pub(super) fn from_cluster(cluster: &Cluster) -> Option<Self> {
        if !is_job_cluster(cluster) {
            return None;
        }
        let id = cluster.cluster_id.as_deref().filter(|id| is_segment(id))?;
        let folder = |folder: &LogFolder| {
            format!("{}/{id}/driver", folder.destination.trim_end_matches('/'))
        };
        let conf = cluster.cluster_log_conf.as_ref()?;
        let destination = match conf {
            ClusterLogConf { dbfs: Some(dbfs), .. } => {
                let folder = folder(dbfs);
                let path = folder.strip_prefix("dbfs:").unwrap_or(&folder);
                Self::Dbfs(format!("/{}", path.trim_start_matches('/')))
            }
            ClusterLogConf { volumes: Some(volume), .. } => {
                let folder = folder(volume);
                let path = folder.strip_prefix("dbfs:").unwrap_or(&folder);
                Self::Volume(Some(path).filter(|path| path.starts_with("/Volumes/"))?.to_owned())
            }
            ClusterLogConf { s3: Some(s3), .. } => Self::S3 {
                url: Some(folder(s3)).filter(|url| url.starts_with("s3://"))?,
                region: s3.region.clone().filter(|region| is_segment(region)),
            },
            ClusterLogConf { .. } => return None,
        };
        Some(destination).filter(|destination| {
            !destination.path().split('/').any(|part| part == ".." || part == ".")
        })
    }

    /// Returns the folder as a path or URL.
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Dbfs(path) | Self::Volume(path) => path,
            Self::S3 { url, .. } => url,
        }
    }
}

/// True if the text is a single path segment or host label.
fn is_segment(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(source: &str, id: &str, conf: &Value) -> Option<Destination> {
        let cluster = json!({"cluster_id": id, "cluster_source": source, "cluster_log_conf": conf});
        Destination::from_cluster(&serde_json::from_value(cluster).unwrap())
    }

    #[test]
    fn folder_is_named_after_destination_and_cluster() {
        let dbfs = of("JOB", "c-1", &json!({"dbfs": {"destination": "dbfs:/logs/"}}));
        assert_eq!(dbfs, Some(Destination::Dbfs("/logs/c-1/driver".to_owned())));
        let volume = of("JOB", "c-1", &json!({"volumes": {"destination": "/Volumes/a/b/c"}}));
        assert_eq!(volume, Some(Destination::Volume("/Volumes/a/b/c/c-1/driver".to_owned())));
        let volume = of("JOB", "c-1", &json!({"volumes": {"destination": "dbfs:/Volumes/a/b/c"}}));
        assert_eq!(volume, Some(Destination::Volume("/Volumes/a/b/c/c-1/driver".to_owned())));
        let s3 =
            of("JOB", "c-1", &json!({"s3": {"destination": "s3://b/p", "region": "eu-west-1"}}));
        let url = "s3://b/p/c-1/driver".to_owned();
        assert_eq!(s3, Some(Destination::S3 { url, region: Some("eu-west-1".to_owned()) }));
    }

    #[test]
    fn folders_of_other_clusters_are_rejected() {
        let conf = json!({"dbfs": {"destination": "dbfs:/logs"}});
        for source in ["UI", "API", "PIPELINE", ""] {
            assert_eq!(of(source, "c-1", &conf), None, "{source}");
        }
        assert_eq!(of("JOB", "../c-2", &conf), None);
        assert_eq!(of("JOB", "", &conf), None);
        for conf in [
            json!({}),
            json!(null),
            json!({"dbfs": {"destination": "dbfs:/logs/../x"}}),
            json!({"volumes": {"destination": "/Workspace/x"}}),
            json!({"s3": {"destination": "file:///etc"}}),
            json!({"gcs": {"destination": "gs://b"}}),
        ] {
            assert_eq!(of("JOB", "c-1", &conf), None, "{conf}");
        }
        let region = json!({"s3": {"destination": "s3://b", "region": "x.evil.example/"}});
        assert!(matches!(of("JOB", "c-1", &region), Some(Destination::S3 { region: None, .. })));
    }
}
