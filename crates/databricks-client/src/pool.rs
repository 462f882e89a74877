//! What is kept for each host, shared by everybody who calls it, and the HTTP clients that hold the connections.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;

use tokio::time::Instant;

use crate::{
    BudgetPolicy, BudgetSnapshot, Client, Credentials, Error, ErrorKind, Host, HostPattern,
    LaneSnapshot, Observer, Propagate, RetryPolicy, WorkspaceSnapshot,
    budget::{Budget, Budgets, Lane},
    gate::Gate,
    roots,
};

/// How many hosts are remembered. A task chooses its host, so there must be an end.
const MAX_HOSTS: usize = 1_000;

/// The version of the Jobs API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum JobsApi {
    /// 2.2, and 2.1 at hosts whose gateway does not know 2.2.
    #[default]
    V2_2,
    /// 2.1.
    V2_1,
}

/// What a client is made of. Cheap to clone; every clone shares the connections.
#[derive(Debug, Clone)]
pub struct ClientPool(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    settings: Settings,
    /// Calls every host but this machine's own. One for all of them: each holds the trusted certificates.
    far: reqwest::Client,
    /// Calls this machine's own loopback, past any proxy.
    near: reqwest::Client,
    hosts: Mutex<HashMap<Host, Arc<Workspace>>>,
}

/// How calls are made.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) product: String,
    pub(crate) request_timeout: Duration,
    pub(crate) call_timeout: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) jobs_api: JobsApi,
    pub(crate) max_response_bytes: usize,
    /// Where results of statements may lie, beside the clouds' own storages.
    pub(crate) link_hosts: Vec<HostPattern>,
    budget: BudgetPolicy,
    observer: Option<Arc<dyn Observer>>,
    pub(crate) propagate: Option<Arc<dyn Propagate>>,
}

/// What is shared by all calls to one host.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) host: Host,
    /// Calls the host.
    pub(crate) http: reqwest::Client,
    /// Calls the authorities of the clouds, for tokens.
    pub(crate) cloud: reqwest::Client,
    pub(crate) settings: Settings,
    pub(crate) gate: Gate,
    budgets: Budgets,
    /// Whether the host turned out not to know 2.2.
    only_2_1: AtomicBool,
}

impl Workspace {
    /// The version to ask this host for.
    pub(crate) fn jobs_version(&self) -> &'static str {
        match self.settings.jobs_api {
            JobsApi::V2_2 if !self.only_2_1.load(Ordering::Relaxed) => "2.2",
            JobsApi::V2_2 | JobsApi::V2_1 => "2.1",
        }
    }

    /// The host does not know 2.2. Whether that is news to this call, which asked for the given version.
    pub(crate) fn fall_back(&self, asked: &str) -> bool {
        self.only_2_1.store(true, Ordering::Relaxed);
        asked == "2.2"
    }

    fn snapshot(&self, now: Instant) -> WorkspaceSnapshot {
        let (attempts, retries, refused) = self.gate.counts();
        let budget = |budget: &Arc<Budget>| BudgetSnapshot {
            credential: budget.credential().to_owned(),
            limit: self.settings.budget.max_in_flight.get(),
            reads: lane(budget, Lane::Reads, now),
            writes: lane(budget, Lane::Writes, now),
        };
        WorkspaceSnapshot {
            host: self.host.clone(),
            breaker: self.gate.breaker_snapshot(now),
            budgets: self.budgets.all().iter().map(budget).collect(),
            attempts,
            retries,
            refused,
            last_failure: self.gate.last_failure(),
        }
    }

    /// `product/version client/version os/name auth/kind` (DA §4.2).
    pub(crate) fn user_agent(&self, credentials: &Credentials) -> HeaderValue {
        let text = format!(
            "{} databricks-client/{} os/{} auth/{}",
            self.settings.product,
            env!("CARGO_PKG_VERSION"),
            std::env::consts::OS,
            credentials.auth_type(),
        );
        HeaderValue::from_str(&text)
            .unwrap_or_else(|_| HeaderValue::from_static("databricks-client"))
    }
}

fn lane(budget: &Budget, lane: Lane, now: Instant) -> LaneSnapshot {
    let load = budget.load(lane, now);
    LaneSnapshot {
        in_flight: load.in_flight,
        waiting: load.waiting,
        per_second: load.per_second,
        waits: load.waits.granted,
        waited: load.waits.waited,
        refused: load.waits.refused,
    }
}

impl ClientPool {
    /// A builder with defaults that work.
    pub fn builder() -> ClientPoolBuilder {
        ClientPoolBuilder {
            settings: Settings {
                product: format!("databricks-client/{}", env!("CARGO_PKG_VERSION")),
                request_timeout: Duration::from_mins(1),
                call_timeout: Duration::from_mins(1),
                retry: RetryPolicy::default(),
                jobs_api: JobsApi::default(),
                // get-output alone can hold 5 MB of logs, escaped as JSON.
                max_response_bytes: 16 * 1024 * 1024,
                link_hosts: Vec::new(),
                budget: BudgetPolicy::default(),
                observer: None,
                propagate: None,
            },
            extra_roots_pem: None,
        }
    }

    /// A client for one host and one credential. It opens no connection by itself.
    pub fn client(&self, host: &Host, credentials: Credentials) -> Client {
        let workspace = self.workspace(host);
        let budget = workspace.budgets.of(&credentials, Instant::now());
        Client::new(workspace, budget, credentials)
    }

    /// How every host stands that was asked for, in the order of their names. No I/O.
    pub fn workspaces(&self) -> Vec<WorkspaceSnapshot> {
        let hosts = self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = hosts.values().map(Arc::clone).collect();
        drop(hosts);
        all.sort_by(|one, other| one.host.cmp(&other.host));
        let now = Instant::now();
        all.iter().map(|workspace| workspace.snapshot(now)).collect()
    }

    fn workspace(&self, host: &Host) -> Arc<Workspace> {
        let mut hosts = self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(workspace) = hosts.get(host) {
            return Arc::clone(workspace);
        }
        if hosts.len() >= MAX_HOSTS {
            // More hosts than anybody has workspaces: begin anew. Calls under way keep what they hold.
            hosts.clear();
        }
        let http = if host.is_loopback() { &self.0.near } else { &self.0.far };
        let workspace = Arc::new(Workspace {
            host: host.clone(),
            http: http.clone(),
            cloud: self.0.far.clone(),
            settings: self.0.settings.clone(),
            gate: Gate::new(host.clone(), self.0.settings.observer.clone()),
            budgets: Budgets::new(self.0.settings.budget),
            only_2_1: AtomicBool::new(false),
        });
        hosts.insert(host.clone(), Arc::clone(&workspace));
        workspace
    }
}

/// Redirects are never followed, so that a token never leaves its host. `HTTPS_PROXY` and `NO_PROXY` are honoured.
fn http_client(roots: &[reqwest::Certificate]) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .tcp_keepalive(Duration::from_secs(30))
        .pool_idle_timeout(Duration::from_mins(1))
        // All calls to a host share one HTTP/2 connection; one that died without a word must not hold them up.
        .http2_keep_alive_interval(Duration::from_secs(20))
        .http2_keep_alive_timeout(Duration::from_secs(10))
        .tls_certs_only(roots.iter().cloned())
}

/// Collects what a pool is made of.
#[derive(Debug)]
pub struct ClientPoolBuilder {
    settings: Settings,
    extra_roots_pem: Option<Vec<u8>>,
}

impl ClientPoolBuilder {
    /// The name and version of the program, for the user agent: letters, digits and `_ . + -` (DA §4.2).
    #[must_use]
    pub fn product(mut self, name: &str, version: &str) -> Self {
        self.settings.product = format!("{name}/{version}");
        self
    }

    /// Certificates in PEM that are trusted beside the system's.
    #[must_use]
    pub fn extra_roots_pem(mut self, pem: Vec<u8>) -> Self {
        self.extra_roots_pem = Some(pem);
        self
    }

    /// How long one try may take. 60 s unless set.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.request_timeout = timeout;
        self
    }

    /// How long a call may take with all its tries, when its caller sets no deadline. 60 s unless set.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.settings.call_timeout = timeout;
        self
    }

    /// The bounds of each workspace and credential.
    #[must_use]
    pub fn budget(mut self, budget: BudgetPolicy) -> Self {
        self.settings.budget = budget;
        self
    }

    /// Who is told of every request and every wait.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.settings.observer = Some(observer);
        self
    }

    /// Who says to the workspaces in which span they are called.
    #[must_use]
    pub fn propagate(mut self, propagate: Arc<dyn Propagate>) -> Self {
        self.settings.propagate = Some(propagate);
        self
    }

    /// The bounds of trying again.
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.settings.retry = retry;
        self
    }

    /// The version of the Jobs API.
    #[must_use]
    pub fn jobs_api(mut self, jobs_api: JobsApi) -> Self {
        self.settings.jobs_api = jobs_api;
        self
    }

    /// The largest answer that is read, and the largest result of a statement, in bytes. 16 MiB unless set.
    #[must_use]
    pub fn max_response_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_response_bytes = bytes;
        self
    }

    /// Hosts that links to results of statements may lead to, beside the clouds' own storages and the workspace itself. No
    /// token is sent there.
    #[must_use]
    pub fn link_hosts(mut self, hosts: impl IntoIterator<Item = HostPattern>) -> Self {
        self.settings.link_hosts.extend(hosts);
        self
    }

    /// The pool.
    ///
    /// # Errors
    ///
    /// `Config` when the product does not fit a user agent, the certificates cannot be read or no TLS can be set up.
    pub fn build(self) -> Result<ClientPool, Error> {
        if !is_product(&self.settings.product) {
            return Err(Error::new(
                ErrorKind::Config,
                "the product's name and version must be letters, digits and `_ . + -`",
            ));
        }
        let roots = roots::trusted(self.extra_roots_pem.as_deref())?;
        let failed = |error: reqwest::Error| {
            Error::new(ErrorKind::Config, "the HTTP client could not be set up")
                .with_source(error.without_url())
        };
        Ok(ClientPool(Arc::new(Pool {
            settings: self.settings,
            far: http_client(&roots).build().map_err(failed)?,
            near: http_client(&roots).no_proxy().build().map_err(failed)?,
            hosts: Mutex::new(HashMap::new()),
        })))
    }
}

/// Whether it is `name/version` as the user agent has it.
fn is_product(product: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte))
    };
    product.split_once('/').is_some_and(|(name, version)| is_part(name) && is_part(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_that_does_not_fit_the_user_agent_is_refused() {
        for (name, version) in [("", "1"), ("a b", "1"), ("a", ""), ("a/b", "1"), ("a", "1\n")] {
            let error = ClientPool::builder().product(name, version).build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{name:?} {version:?}");
        }
    }

    #[test]
    fn every_client_of_a_host_shares_its_connections() {
        let pool = ClientPool::builder().build().unwrap();
        let host: Host = "dbc-1.cloud.databricks.com".parse().unwrap();
        assert!(Arc::ptr_eq(&pool.workspace(&host), &pool.workspace(&host)));
    }
}
