//! Validates the operator's configuration once, when the connector is created.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use connector_core::run_tracker::GracePeriods;
use databricks_client::{
    ClientPool, Credentials, Host, HostPattern, HostPolicy, JobsApiVersion, Rate, RateLimitPolicy,
    error_chain,
};
use secrecy::SecretString;
use task_storage::TaskStorage;

use super::{
    CallLimits, Config, ConfigError, ConfigField, Entrypoint, JobsApi,
    log_options::LogOptions,
    log_token_key::LogTokenKey,
    run_defaults::RunDefaults,
    warehouse::{SqlResults, Warehouse, Warehouses},
};
use crate::{
    credentials::{
        CredentialResolver,
        namespace_secret::SecretCredentials,
        task::{TaskCredentials, bearer},
    },
    phase::UserFailures,
    telemetry::{Metrics, Recorder},
};

/// The validated configuration.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) default_host: Option<Host>,
    pub(crate) telemetry: Arc<Recorder>,
    pub(crate) credentials: CredentialResolver,
    pub(crate) hosts: HostPolicy,
    #[cfg_attr(
        not(feature = "system-tables"),
        expect(dead_code, reason = "only system tables use them")
    )]
    pub(crate) warehouses: Warehouses,
    pub(crate) pool: ClientPool,
    pub(crate) user_failures: UserFailures,
    pub(crate) entrypoint: Entrypoint,
    pub(crate) run_defaults: RunDefaults,
    pub(crate) cluster_tags: bool,
    pub(crate) task_storage: Arc<dyn TaskStorage>,
    pub(crate) require_error_file: bool,
    pub(crate) max_output_bytes: usize,
    pub(crate) grace_periods: GracePeriods,
    pub(crate) call_timeout: Duration,
    pub(crate) logs: LogOptions,
    pub(crate) log_token_key: LogTokenKey,
}

impl TryFrom<Config> for Settings {
    type Error = ConfigError;

    fn try_from(config: Config) -> Result<Self, ConfigError> {
        let mut workspaces = config.workspaces;
        let instance = config.instance.as_deref().map(str::trim).filter(|text| !text.is_empty());
        let default_host = instance
            .map(Host::parse)
            .transpose()
            .map_err(|error| invalid(ConfigField::Instance, &error))?
            .or_else(|| workspaces.default.clone());
        let default = default_host.as_ref();

        let token_hosts = token_hosts(&config.access_token_hosts, default)?;
        if let Some(token) =
            own_token(config.access_token.as_ref(), config.access_token_file.as_deref())
        {
            if token_hosts.is_empty() {
                return Err(invalid(
                    ConfigField::AccessToken,
                    "the token has no workspace; set FLYTE_DATABRICKS_INSTANCE or FLYTE_DATABRICKS_ACCESS_TOKEN_HOSTS too",
                ));
            }
            workspaces.with_token("FLYTE_DATABRICKS_ACCESS_TOKEN", token_hosts, &token);
        }
        workspaces.own.with_token_endpoints(&config.token_endpoints);
        add_warehouse(&mut workspaces.warehouses, config.sql_warehouse.as_deref(), default)?;

        let own_hosts = workspaces.own.iter().map(|own| &own.host);
        let configured: Vec<&Host> =
            default.into_iter().chain(own_hosts).chain(&workspaces.hosts).collect();
        let patterns = patterns(&config.allowed_hosts)?;
        let exact = configured.iter().map(|host| HostPattern::exactly(host));
        let hosts = exact
            .chain(patterns.iter().cloned())
            .fold(HostPolicy::databricks_domains(), HostPolicy::allow);

        let telemetry = Arc::new(Recorder::new(Metrics::new(configured), config.observer));
        let mut pool = ClientPool::builder()
            .product("flyte-connector-databricks", env!("CARGO_PKG_VERSION"))
            .rate_limit(rate_limit(config.calls))
            // Hosts that may receive a token may also be read without one.
            .external_link_hosts(patterns)
            .jobs_api(match config.jobs_api {
                JobsApi::V2_2 => JobsApiVersion::V2_2,
                JobsApi::V2_1 => JobsApiVersion::V2_1,
            })
            .observer(Arc::<Recorder>::clone(&telemetry));
        if let Some(propagate) = config.propagate {
            pool = pool.trace_propagator(propagate);
        }
        if let Some(pem) = config.extra_root_certs_pem {
            pool = pool.extra_root_certs_pem(pem);
        }
        let pool =
            pool.build().map_err(|error| invalid(ConfigField::Roots, &error_chain(&error)))?;

        Ok(Self {
            default_host,
            telemetry,
            credentials: CredentialResolver {
                task: TaskCredentials::default(),
                namespace_secrets: config.namespace_secrets.map(SecretCredentials::new),
                own: workspaces.own,
            },
            hosts,
            warehouses: workspaces.warehouses,
            pool,
            user_failures: config.user_failures,
            entrypoint: config.entrypoint,
            run_defaults: config.run_defaults,
            cluster_tags: config.cluster_tags,
            task_storage: config.task_storage,
            require_error_file: config.require_error_file,
            max_output_bytes: config.max_output_bytes,
            grace_periods: GracePeriods {
                rejected: config.refusal_patience,
                not_found: config.vanished_patience,
                transient: config.unreachable_patience,
            },
            call_timeout: config.call_timeout,
            log_token_key: LogTokenKey::new(config.logs.token_key.as_ref()),
            logs: config.logs,
        })
    }
}

impl Settings {
    /// Returns the host of a task with the workspace id that the operator configured for it, if the task names none.
    pub(crate) fn with_configured_workspace_id(&self, host: Host) -> Host {
        if host.workspace_id().is_some() {
            return host;
        }
        if let Some(default) = self.default_host.as_ref().filter(|default| default.matches(&host)) {
            return default.clone();
        }
        let own = self.credentials.own.iter().map(|own| &own.host);
        let configured: BTreeSet<&Host> = own.filter(|own| own.matches(&host)).collect();
        // Two workspaces of the same address: a guess could run the task in the wrong one.
        let mut configured = configured.into_iter();
        match (configured.next(), configured.next()) {
            (Some(one), None) => one.clone(),
            _ => host,
        }
    }

    /// Returns the configured workspaces, each with the names of the connector's own credentials for it.
    pub(crate) fn own_workspaces(&self) -> BTreeMap<&Host, Vec<String>> {
        let mut own: BTreeMap<&Host, Vec<String>> = BTreeMap::new();
        for credential in self.credentials.own.iter() {
            own.entry(&credential.host).or_default().push(credential.name.clone());
        }
        if let Some(host) = &self.default_host {
            own.entry(host).or_default();
        }
        own
    }
}

fn invalid(field: ConfigField, reason: &(impl ToString + ?Sized)) -> ConfigError {
    ConfigError { field, reason: reason.to_string() }
}

/// Returns the connector's own token, or `None` if it is blank.
fn own_token(token: Option<&SecretString>, file: Option<&Path>) -> Option<Credentials> {
    let name = "the connector's own token (FLYTE_DATABRICKS_ACCESS_TOKEN)";
    token.and_then(|token| bearer(name, token)).or_else(|| {
        let file = file?;
        let name = format!("the connector's own token ({})", file.display());
        Some(Credentials::token_file(name, file))
    })
}

/// Returns the workspaces of the connector's own token: the listed ones, else the default one.
fn token_hosts(listed: &[String], default: Option<&Host>) -> Result<Vec<Host>, ConfigError> {
    let hosts: Vec<Host> = non_blank(listed)
        .map(Host::parse)
        .collect::<Result<_, _>>()
        .map_err(|error| invalid(ConfigField::AccessTokenHosts, &error))?;
    Ok(if hosts.is_empty() { default.cloned().into_iter().collect() } else { hosts })
}

/// Adds the warehouse of the default workspace, and rejects warehouses in a build that cannot use them.
fn add_warehouse(
    warehouses: &mut Warehouses,
    id: Option<&str>,
    default: Option<&Host>,
) -> Result<(), ConfigError> {
    let invalid = |why: &str| invalid(ConfigField::SqlWarehouse, why);
    if let Some(id) = id {
        let warehouse = Warehouse::new(id, SqlResults::default()).map_err(invalid)?;
        let host = default.ok_or_else(|| {
            invalid("the warehouse has no workspace; set FLYTE_DATABRICKS_INSTANCE too")
        })?;
        warehouses.insert(host.clone(), warehouse);
    }
    if cfg!(not(feature = "system-tables")) && !warehouses.is_empty() {
        return Err(invalid(
            "this program is built without the feature system-tables, which uses the warehouse",
        ));
    }
    Ok(())
}

fn patterns(listed: &[String]) -> Result<Vec<HostPattern>, ConfigError> {
    non_blank(listed)
        .map(|text| {
            text.parse()
                .map_err(|error| invalid(ConfigField::AllowedHosts, &format!("`{text}`: {error}")))
        })
        .collect()
}

/// Returns the texts that are not blank, trimmed.
fn non_blank(texts: &[String]) -> impl Iterator<Item = &str> {
    texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty())
}

fn rate_limit(limits: CallLimits) -> RateLimitPolicy {
    RateLimitPolicy {
        max_in_flight: limits.max_concurrent,
        reads: Rate::per_second(limits.reads_per_second),
        writes: Rate::per_second(limits.writes_per_second),
    }
}
