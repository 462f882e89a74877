//! Where the driver of a run's own cluster delivers its logs. Pure.

use databricks_client::clusters::{Cluster, ClusterLogConf, LogFolder};

/// What a cluster is called that lives for one run alone.
const OF_A_JOB: &str = "JOB";

/// A folder with the logs of one driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    /// A path of DBFS.
    Dbfs(String),
    /// A path below `/Volumes`.
    Volume(String),
    /// An address that begins with `s3://`, and the region of its bucket.
    S3 { url: String, region: Option<String> },
}

impl Destination {
    /// The folder of a cluster's driver: `<destination>/<cluster>/driver` (DA §5.1). The cluster's id in it, which
    /// Databricks chooses, is what keeps it from being anybody else's.
    ///
    /// None for a cluster that delivers none, and for one that outlives the run: its logs are other people's too.
    pub(super) fn of(cluster: &Cluster) -> Option<Self> {
        if cluster.cluster_source.as_deref() != Some(OF_A_JOB) {
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
            !destination.folder().split('/').any(|part| part == ".." || part == ".")
        })
    }

    /// The folder, as people know it.
    pub(super) fn folder(&self) -> &str {
        match self {
            Self::Dbfs(path) | Self::Volume(path) => path,
            Self::S3 { url, .. } => url,
        }
    }
}

/// One part of a path or of a host name, and nothing that could be more.
fn is_segment(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(source: &str, id: &str, conf: &Value) -> Option<Destination> {
        let cluster = json!({"cluster_id": id, "cluster_source": source, "cluster_log_conf": conf});
        Destination::of(&serde_json::from_value(cluster).unwrap())
    }

    #[test]
    fn every_destination_has_its_folder() {
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
    fn a_folder_of_others_is_never_named() {
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
