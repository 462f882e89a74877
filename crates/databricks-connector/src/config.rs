//! The operator's configuration: one field for each setting, with its default. Validation is in [`settings`].

pub(crate) mod log_options;
pub(crate) mod log_token_key;
pub(crate) mod run_defaults;
pub(crate) mod settings;
pub(crate) mod warehouse;
pub(crate) mod workspaces;

use std::{fmt, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use databricks_client::{RateLimitPolicy, TokenEndpoints, TracePropagator};
use secrecy::SecretString;
use task_storage::{ObjectStores, TaskStorage};

use self::{log_options::LogOptions, run_defaults::RunDefaults, workspaces::Workspaces};
use crate::{
    credentials::namespace_secret::SecretAccess, phase::UserFailures, telemetry::Observer,
};

/// The operator's configuration. Every field has a valid default.
#[derive(Debug, Clone)]
pub struct Config {
    /// The workspace of tasks that name none: a host name or a pasted URL.
    pub instance: Option<String>,
    /// The connector's own token, for tasks without a credential. It is sent only to
    /// `access_token_hosts`.
    pub access_token: Option<SecretString>,
    /// A file with that token, read again while the process runs. `access_token` wins.
    pub access_token_file: Option<PathBuf>,
    /// The workspaces that the token is for. Empty means `instance`.
    pub access_token_hosts: Vec<String>,
    /// Workspaces with their own credentials.
    pub workspaces: Workspaces,
    /// The id of a SQL warehouse in `instance`, which reads CPU and memory of runs from system tables. `workspaces` names
    /// the warehouses of other workspaces. Not used without the feature `system-tables`.
    pub sql_warehouse: Option<String>,
    /// The Kubernetes Secrets that serve as the task's credential. `None` uses no Secrets.
    pub namespace_secrets: Option<SecretAccess>,
    /// Allowed `host[:port]` patterns in addition to Databricks' own domains. `*` matches one label or any port.
    pub allowed_hosts: Vec<String>,
    /// Trusted root certificates in PEM, in addition to the system's.
    pub extra_root_certs_pem: Option<Vec<u8>>,
    /// The phase of a failure of the user's own code.
    pub user_failures: UserFailures,
    /// The entrypoint of Flyte functions that both entrypoints can run.
    pub entrypoint: Entrypoint,
    /// The version of the Jobs API.
    pub jobs_api: JobsApi,
    /// Run-level keys for runs that do not set them.
    pub run_defaults: RunDefaults,
    /// Whether new clusters get tags that name the Flyte run.
    pub cluster_tags: bool,
    /// Where error.pb and outputs.pb are read.
    pub task_storage: Arc<dyn TaskStorage>,
    /// Whether a success whose files cannot be read is a failure.
    pub require_error_file: bool,
    /// The largest outputs in bytes that Flyte downloads (flyte-contract.md#observed-backend): larger ones of a workload other than
    /// a Flyte function fail the task, those of a function are reported.
    pub max_output_bytes: usize,
    /// How long a credential or host may be rejected continuously before the task fails.
    pub refusal_patience: Duration,
    /// How long a run may be unknown to its workspace before the task fails.
    pub vanished_patience: Duration,
    /// How long transient failures to read a run may continue before the task fails. `None` has no limit.
    pub unreachable_patience: Option<Duration>,
    /// Request limits for each workspace and credential.
    pub calls: CallLimits,
    /// The timeout of calls from Flyte that have no deadline.
    pub call_timeout: Duration,
    /// How the logs of runs are read.
    pub logs: LogOptions,
    /// Adds the trace context to requests.
    pub propagate: Option<Arc<dyn TracePropagator>>,
    /// Token endpoints that replace those of the clouds.
    pub token_endpoints: TokenEndpoints,
    /// Observes every request to Databricks, and every wait of the rate limiter.
    pub observer: Option<Arc<dyn Observer>>,
}

/// Request limits of one process for each workspace and credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// Concurrent requests.
    pub max_concurrent: NonZeroU32,
    /// Sustained reads per second. After a pause, a burst of twice this number is allowed.
    pub reads_per_second: NonZeroU32,
    /// Sustained writes per second. After a pause, a burst of twice this number is allowed.
    pub writes_per_second: NonZeroU32,
}

impl Default for CallLimits {
    fn default() -> Self {
        let RateLimitPolicy { max_in_flight, reads, writes } = RateLimitPolicy::default();
        Self {
            max_concurrent: max_in_flight,
            reads_per_second: reads.per_second,
            writes_per_second: writes.per_second,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            instance: None,
            access_token: None,
            access_token_file: None,
            access_token_hosts: Vec::new(),
            workspaces: Workspaces::default(),
            sql_warehouse: None,
            namespace_secrets: None,
            allowed_hosts: Vec::new(),
            extra_root_certs_pem: None,
            user_failures: UserFailures::default(),
            entrypoint: Entrypoint::default(),
            jobs_api: JobsApi::default(),
            run_defaults: RunDefaults::default(),
            cluster_tags: true,
            task_storage: Arc::new(ObjectStores::new()),
            require_error_file: false,
            max_output_bytes: 2 * 1024 * 1024,
            refusal_patience: Duration::from_mins(15),
            vanished_patience: Duration::from_mins(1),
            unreachable_patience: None,
            calls: CallLimits::default(),
            call_timeout: Duration::from_mins(1),
            logs: LogOptions::default(),
            propagate: None,
            token_endpoints: TokenEndpoints::default(),
            observer: None,
        }
    }
}

/// The entrypoint that starts Flyte's runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Entrypoint {
    /// The file in the repository that the Python plugin pins, or in the user's own repository.
    /// Functions that it cannot run use [`Entrypoint::Workspace`].
    #[default]
    Git,
    /// The script that the connector uploads to the workspace.
    Workspace,
}

/// A version of the Jobs API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JobsApi {
    /// 2.2, or 2.1 for workspaces whose gateway does not support 2.2 (databricks-api.md#further-facts).
    #[default]
    V2_2,
    /// 2.1 only.
    V2_1,
}

/// A field of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigField {
    /// [`Config::instance`].
    Instance,
    /// [`Config::access_token`].
    AccessToken,
    /// [`Config::access_token_hosts`].
    AccessTokenHosts,
    /// [`Config::allowed_hosts`].
    AllowedHosts,
    /// [`Config::sql_warehouse`].
    SqlWarehouse,
    /// [`Config::extra_root_certs_pem`].
    Roots,
}

/// An invalid field of the configuration.
#[derive(Debug)]
pub struct ConfigError {
    pub(crate) field: ConfigField,
    pub(crate) reason: String,
}

impl ConfigError {
    /// Returns the invalid field.
    pub fn field(&self) -> ConfigField {
        self.field
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ConfigError {}
