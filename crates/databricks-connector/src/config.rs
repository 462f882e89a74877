//! What the operator decides.

pub(crate) mod run_defaults;
pub(crate) mod warehouse;
mod workspaces;

use std::{
    fmt,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use databricks_client::{
    ClientPool, Credentials, Host, HostPattern, HostPolicy, Rate, RateLimitPolicy, TokenEndpoints,
    TracePropagator,
};
use secrecy::SecretString;
use task_storage::{ObjectStores, TaskStorage};

pub use workspaces::{Workspaces, WorkspacesError};

use crate::{
    config::{
        run_defaults::RunDefaults,
        warehouse::{SqlResults, Warehouse, Warehouses},
    },
    create::workload::Entrypoint,
    credentials::{
        OwnCredentials, TaskCredentials, bearer,
        namespace_secret::{SecretAccess, SecretCredentials},
    },
    error,
    get::{phase::UserFailures, run_tracker::failure_timers::GracePeriods},
    logs::{options::LogOptions, token::TokenKey},
    telemetry::{Metrics, Observer, Recorder},
};

/// The operator's decisions, as given. Every field has a default that works.
#[derive(Debug, Clone)]
pub struct Config {
    /// The workspace of tasks that name none: a host name or a pasted address.
    pub instance: Option<String>,
    /// The connector's own token. It is sent to `access_token_hosts` alone, when the task brings no credential.
    pub access_token: Option<SecretString>,
    /// A file with that token, read again while the process runs; the token above comes first.
    pub access_token_file: Option<PathBuf>,
    /// The workspaces that the token is for; `instance` when empty.
    pub access_token_hosts: Vec<String>,
    /// Workspaces with credentials of their own.
    pub workspaces: Workspaces,
    /// The id of a SQL warehouse in `instance`, for what system tables tell of a run's machines; `workspaces` names those
    /// of others. Without the feature `system-tables` nothing is asked of it.
    pub sql_warehouse: Option<String>,
    /// The Kubernetes Secrets that stand in for a credential of the task; none are used without.
    pub namespace_secrets: Option<SecretAccess>,
    /// `host[:port]` patterns that are allowed beside Databricks' own domains; `*` stands for one label or any port.
    pub allowed_hosts: Vec<String>,
    /// Certificates in PEM that are trusted beside the system's.
    pub extra_roots_pem: Option<Vec<u8>>,
    /// What a failure of the user's own code becomes.
    pub user_failures: UserFailures,
    /// What starts Flyte's runtime, where either can.
    pub entrypoint: Entrypoint,
    /// The version of the Jobs API that is asked for.
    pub jobs_api: JobsApi,
    /// What every run gets that does not say otherwise.
    pub run_defaults: RunDefaults,
    /// Whether new clusters are tagged with the Flyte run that they are for.
    pub cluster_tags: bool,
    /// Where error.pb and outputs.pb are looked for.
    pub task_storage: Arc<dyn TaskStorage>,
    /// Whether a success whose files cannot be looked at is a failure.
    pub require_error_file: bool,
    /// How long a refused credential or host is borne before the task fails.
    pub refusal_patience: Duration,
    /// How long a run that the workspace does not know is borne before the task fails.
    pub vanished_patience: Duration,
    /// How long a run that cannot be read, for any cause that may pass, is borne before the task fails; none: for ever.
    pub unreachable_patience: Option<Duration>,
    /// How many calls each workspace gets from each credential.
    pub calls: CallLimits,
    /// How long a call of Flyte may take that brings no deadline.
    pub call_timeout: Duration,
    /// How the logs of runs are read.
    pub logs: LogOptions,
    /// Who says to the workspaces in which span of a trace they are called.
    pub propagate: Option<Arc<dyn TracePropagator>>,
    /// Who mints tokens beside the workspaces, in place of the clouds' own.
    pub authorities: TokenEndpoints,
    /// Who is told of every request to Databricks, and of every wait for one.
    pub observer: Option<Arc<dyn Observer>>,
}

/// How many calls each workspace gets from each credential, by each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// At the same time.
    pub at_once: NonZeroU32,
    /// Reads a second in the long run; twice as many at once after a pause.
    pub reads_per_second: NonZeroU32,
    /// Writes a second in the long run; twice as many at once after a pause.
    pub writes_per_second: NonZeroU32,
}

impl Default for CallLimits {
    fn default() -> Self {
        let RateLimitPolicy { max_in_flight, reads, writes } = RateLimitPolicy::default();
        Self {
            at_once: max_in_flight,
            reads_per_second: reads.per_second,
            writes_per_second: writes.per_second,
        }
    }
}

impl CallLimits {
    fn budget(self) -> RateLimitPolicy {
        RateLimitPolicy {
            max_in_flight: self.at_once,
            reads: Rate::per_second(self.reads_per_second),
            writes: Rate::per_second(self.writes_per_second),
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
            extra_roots_pem: None,
            user_failures: UserFailures::default(),
            entrypoint: Entrypoint::default(),
            jobs_api: JobsApi::default(),
            run_defaults: RunDefaults::default(),
            cluster_tags: true,
            task_storage: Arc::new(ObjectStores::new()),
            require_error_file: false,
            refusal_patience: Duration::from_mins(15),
            vanished_patience: Duration::from_mins(1),
            unreachable_patience: None,
            calls: CallLimits::default(),
            call_timeout: Duration::from_mins(1),
            logs: LogOptions::default(),
            propagate: None,
            authorities: TokenEndpoints::default(),
            observer: None,
        }
    }
}

/// A version of the Jobs API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JobsApi {
    /// 2.2, and 2.1 for workspaces whose gateway does not know 2.2.
    #[default]
    V2_2,
    /// 2.1 from the start.
    V2_1,
}

/// Which part of the configuration cannot be used.
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
    /// [`Config::extra_roots_pem`].
    Roots,
}

/// Why a configuration cannot be used.
#[derive(Debug)]
pub struct ConfigError {
    field: ConfigField,
    reason: String,
}

impl ConfigError {
    /// The part that is wrong.
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

/// The operator's decisions, proven usable.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) default_host: Option<Host>,
    pub(crate) telemetry: Arc<Recorder>,
    pub(crate) own: OwnCredentials,
    pub(crate) task_credentials: TaskCredentials,
    pub(crate) namespace_secrets: Option<SecretCredentials>,
    pub(crate) hosts: HostPolicy,
    #[cfg_attr(
        not(feature = "system-tables"),
        expect(dead_code, reason = "only system tables need them")
    )]
    pub(crate) warehouses: Warehouses,
    pub(crate) pool: ClientPool,
    pub(crate) user_failures: UserFailures,
    pub(crate) entrypoint: Entrypoint,
    pub(crate) run_defaults: RunDefaults,
    pub(crate) cluster_tags: bool,
    pub(crate) task_storage: Arc<dyn TaskStorage>,
    pub(crate) require_error_file: bool,
    pub(crate) grace_periods: GracePeriods,
    pub(crate) call_timeout: Duration,
    pub(crate) logs: LogOptions,
    pub(crate) log_tokens: TokenKey,
}

/// The workspaces of the connector's own token.
fn token_hosts(
    named: &[String],
    default: Option<&Host>,
) -> Result<Vec<Host>, databricks_client::HostError> {
    let named = named.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    let hosts: Vec<Host> = named.map(Host::parse).collect::<Result<_, _>>()?;
    Ok(if hosts.is_empty() { default.cloned().into_iter().collect() } else { hosts })
}

/// The connector's own token; none when it is blank.
fn own_token(token: Option<&SecretString>, file: Option<&Path>) -> Option<Credentials> {
    let name = "the connector's own token (FLYTE_DATABRICKS_ACCESS_TOKEN)";
    token.and_then(|token| bearer(name, token)).or_else(|| {
        let file = file?;
        Some(Credentials::token_file(
            format!("the connector's own token ({})", file.display()),
            file,
        ))
    })
}

impl TryFrom<Config> for Settings {
    type Error = ConfigError;

    fn try_from(config: Config) -> Result<Self, ConfigError> {
        let wrong = |field, reason: String| ConfigError { field, reason };
        let given = config.instance.as_deref().map(str::trim).filter(|text| !text.is_empty());
        let instance = given
            .map(Host::parse)
            .transpose()
            .map_err(|error| wrong(ConfigField::Instance, error.to_string()))?;
        let mut workspaces = config.workspaces;
        let default_host = instance.or_else(|| workspaces.default.clone());
        let token_hosts = token_hosts(&config.access_token_hosts, default_host.as_ref())
            .map_err(|error| wrong(ConfigField::AccessTokenHosts, error.to_string()))?;
        if let Some(credentials) =
            own_token(config.access_token.as_ref(), config.access_token_file.as_deref())
        {
            if token_hosts.is_empty() {
                return Err(wrong(
                    ConfigField::AccessToken,
                    "the token is given, but not the workspace that it is for; set FLYTE_DATABRICKS_INSTANCE or FLYTE_DATABRICKS_ACCESS_TOKEN_HOSTS too".to_owned(),
                ));
            }
            workspaces.with_token("FLYTE_DATABRICKS_ACCESS_TOKEN", token_hosts, &credentials);
        }
        if let Some(id) = &config.sql_warehouse {
            let wrong = |why: &str| wrong(ConfigField::SqlWarehouse, why.to_owned());
            let warehouse = Warehouse::new(id, SqlResults::default()).map_err(wrong)?;
            let without =
                "the warehouse is given, but not its workspace; set FLYTE_DATABRICKS_INSTANCE too";
            let host = default_host.clone().ok_or_else(|| wrong(without))?;
            workspaces.warehouses.insert(host, warehouse);
        }
        if cfg!(not(feature = "system-tables")) && !workspaces.warehouses.is_empty() {
            let why =
                "this program is built without the feature system-tables, which asks the warehouse";
            return Err(wrong(ConfigField::SqlWarehouse, why.to_owned()));
        }
        let mut link_hosts = Vec::new();
        workspaces.own.with_token_endpoints(&config.authorities);
        let mut hosts = HostPolicy::databricks_domains();
        let listed = default_host.iter().chain(&workspaces.hosts);
        for host in listed.chain(workspaces.own.iter().map(|own| &own.host)) {
            hosts = hosts.allow(HostPattern::exactly(host));
        }
        for pattern in
            config.allowed_hosts.iter().map(|text| text.trim()).filter(|text| !text.is_empty())
        {
            let pattern: HostPattern = pattern.parse().map_err(|error| {
                wrong(ConfigField::AllowedHosts, format!("`{pattern}`: {error}"))
            })?;
            // What may have a token may as well be asked without one.
            link_hosts.push(pattern.clone());
            hosts = hosts.allow(pattern);
        }
        let mut pool = ClientPool::builder()
            .product("flyte-connector-databricks", env!("CARGO_PKG_VERSION"))
            .rate_limit(config.calls.budget())
            .external_link_hosts(link_hosts)
            .jobs_api(match config.jobs_api {
                JobsApi::V2_2 => databricks_client::JobsApiVersion::V2_2,
                JobsApi::V2_1 => databricks_client::JobsApiVersion::V2_1,
            });
        let configured = default_host
            .iter()
            .chain(workspaces.own.iter().map(|own| &own.host))
            .chain(&workspaces.hosts);
        let telemetry = Arc::new(Recorder::new(Metrics::new(configured), config.observer));
        let observer: Arc<dyn Observer> = Arc::<Recorder>::clone(&telemetry);
        pool = pool.observer(observer);
        if let Some(propagate) = config.propagate {
            pool = pool.trace_propagator(propagate);
        }
        if let Some(pem) = config.extra_roots_pem {
            pool = pool.extra_root_certs_pem(pem);
        }
        Ok(Self {
            default_host,
            telemetry,
            own: workspaces.own,
            task_credentials: TaskCredentials::default(),
            namespace_secrets: config.namespace_secrets.map(SecretCredentials::new),
            hosts,
            warehouses: workspaces.warehouses,
            pool: pool
                .build()
                .map_err(|failed| wrong(ConfigField::Roots, error::with_causes(&failed)))?,
            user_failures: config.user_failures,
            entrypoint: config.entrypoint,
            run_defaults: config.run_defaults,
            cluster_tags: config.cluster_tags,
            task_storage: config.task_storage,
            require_error_file: config.require_error_file,
            grace_periods: GracePeriods {
                rejected: config.refusal_patience,
                not_found: config.vanished_patience,
                transient: config.unreachable_patience,
            },
            call_timeout: config.call_timeout,
            log_tokens: TokenKey::new(config.logs.token_key.as_ref()),
            logs: config.logs,
        })
    }
}
