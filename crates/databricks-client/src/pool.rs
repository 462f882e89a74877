//! The pool: the HTTP clients and the state of each host, shared by all clients.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    Client, Credentials, Error, ErrorKind, Host, HostPattern, JobsApiVersion, Observer,
    RateLimitPolicy, RetryPolicy, TracePropagator, WorkspaceSnapshot, host_state::HostState,
    http::root_certs, settings::Settings,
};

/// The largest number of hosts with a state. Bounded because tasks choose their host.
const MAX_HOSTS: usize = 1_000;

/// Creates clients. Clones share connections and state.
#[derive(Debug, Clone)]
pub struct ClientPool(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    settings: Settings,
    /// For all hosts except loopback. One client, since each holds all root certificates.
    remote_http: reqwest::Client,
    /// For loopback, without a proxy.
    loopback_http: reqwest::Client,
    hosts: Mutex<HashMap<Host, Arc<HostState>>>,
}

impl ClientPool {
    /// Returns a builder with default settings.
    pub fn builder() -> ClientPoolBuilder {
        ClientPoolBuilder { settings: Settings::default(), extra_root_certs_pem: None }
    }

    /// Returns a client for a host and a credential. Opens no connection.
    pub fn client(&self, host: &Host, credentials: Credentials) -> Client {
        let host_state = self.host_state(host);
        let limiter = host_state.limiter(&credentials);
        Client::new(host_state, limiter, credentials)
    }

    /// Returns a snapshot of each host, ordered by host. No I/O.
    pub fn snapshots(&self) -> Vec<WorkspaceSnapshot> {
        let hosts = self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = hosts.values().map(Arc::clone).collect();
        drop(hosts);
        all.sort_by(|one, other| one.host.cmp(&other.host));
        let now = Instant::now();
        all.iter().map(|host| host.snapshot(now)).collect()
    }

    fn host_state(&self, host: &Host) -> Arc<HostState> {
        let pool = &self.0;
        let mut hosts = pool.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = hosts.get(host) {
            return Arc::clone(state);
        }
        if hosts.len() >= MAX_HOSTS {
            // No operator has more workspaces. Existing clients keep their state.
            hosts.clear();
        }
        let http = if host.is_loopback() { &pool.loopback_http } else { &pool.remote_http };
        let (http, cloud_http) = (http.clone(), pool.remote_http.clone());
        let state = Arc::new(HostState::new(host, http, cloud_http, pool.settings.clone()));
        hosts.insert(host.clone(), Arc::clone(&state));
        state
    }
}

/// Returns a builder of an HTTP client that follows no redirects, so that a token never leaves its host. Respects
/// `HTTPS_PROXY` and `NO_PROXY`.
fn http_client(root_certs: &[reqwest::Certificate]) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .tcp_keepalive(Duration::from_secs(30))
        .pool_idle_timeout(Duration::from_mins(1))
        // All calls to a host share one HTTP/2 connection. Detects one that died silently.
        .http2_keep_alive_interval(Duration::from_secs(20))
        .http2_keep_alive_timeout(Duration::from_secs(10))
        .tls_certs_only(root_certs.iter().cloned())
}

/// Builds a [`ClientPool`].
#[derive(Debug)]
#[must_use]
pub struct ClientPoolBuilder {
    settings: Settings,
    extra_root_certs_pem: Option<Vec<u8>>,
}

/// Declares methods that set a field of the settings.
macro_rules! setters {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)*) => {
        $($(#[$doc])*
        pub fn $field(mut self, $field: $type) -> Self {
            self.settings.$field = $field.into();
            self
        })*
    };
}

impl ClientPoolBuilder {
    /// Sets name and version of the program for the user agent: letters, digits and `_ . + -`
    /// (databricks-api.md#user-agent).
    pub fn product(mut self, name: &str, version: &str) -> Self {
        self.settings.product = format!("{name}/{version}");
        self
    }

    /// Sets root certificates in PEM that are trusted in addition to those of the system.
    pub fn extra_root_certs_pem(mut self, pem: Vec<u8>) -> Self {
        self.extra_root_certs_pem = Some(pem);
        self
    }

    setters! {
        /// Sets the timeout of one attempt. Default: 60 s.
        request_timeout: Duration,
        /// Sets the timeout of a call with all its attempts, if the caller sets no deadline. Default: 60 s.
        call_timeout: Duration,
        /// Sets the rate limit of each pair of host and credential.
        rate_limit: RateLimitPolicy,
        /// Sets the observer of requests and waits.
        observer: Arc<dyn Observer>,
        /// Sets the source of trace context headers.
        trace_propagator: Arc<dyn TracePropagator>,
        /// Sets the limits of retries.
        retry: RetryPolicy,
        /// Sets the version of the Jobs API.
        jobs_api: JobsApiVersion,
        /// Sets the largest response, and the largest result of a statement, in bytes. Default: 16 MiB.
        max_response_bytes: usize,
    }

    /// Allows external links of statement results to these hosts, in addition to cloud storage and the workspace. No
    /// token is sent there.
    pub fn external_link_hosts(mut self, hosts: impl IntoIterator<Item = HostPattern>) -> Self {
        self.settings.external_link_hosts.extend(hosts);
        self
    }

    /// Builds the pool.
    ///
    /// # Errors
    ///
    /// `Config` if the product is not valid in a user agent, or if certificates or TLS cannot be set up.
    pub fn build(self) -> Result<ClientPool, Error> {
        if !is_product(&self.settings.product) {
            let text =
                "name and version of the product may contain only letters, digits and `_ . + -`";
            return Err(Error::new(ErrorKind::Config, text));
        }
        let root_certs = root_certs::load(self.extra_root_certs_pem.as_deref())?;
        let failed = |error: reqwest::Error| {
            Error::new(ErrorKind::Config, "cannot set up the HTTP client")
                .with_source(error.without_url())
        };
        Ok(ClientPool(Arc::new(Pool {
            settings: self.settings,
            remote_http: http_client(&root_certs).build().map_err(failed)?,
            loopback_http: http_client(&root_certs).no_proxy().build().map_err(failed)?,
            hosts: Mutex::new(HashMap::new()),
        })))
    }
}

/// True for `name/version` as allowed in the user agent.
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
    fn product_that_is_not_valid_in_a_user_agent_is_rejected() {
        for (name, version) in [("", "1"), ("a b", "1"), ("a", ""), ("a/b", "1"), ("a", "1\n")] {
            let error = ClientPool::builder().product(name, version).build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{name:?} {version:?}");
        }
    }

    #[test]
    fn clients_of_a_host_share_its_state() {
        let pool = ClientPool::builder().build().unwrap();
        let host: Host = "dbc-1.cloud.databricks.com".parse().unwrap();
        assert!(Arc::ptr_eq(&pool.host_state(&host), &pool.host_state(&host)));
    }

    #[test]
    fn credentials_with_the_same_secret_share_a_rate_limiter() {
        let pool = ClientPool::builder().build().unwrap();
        let state = pool.host_state(&"dbc-1.cloud.databricks.com".parse().unwrap());
        let limiter = |name: &str, token: &str| {
            state.limiter(&Credentials::personal_access_token(name, token.to_owned().into()))
        };
        let one = limiter("one", "dapi-1");
        assert!(Arc::ptr_eq(&one, &limiter("renamed", "dapi-1")));
        assert!(!Arc::ptr_eq(&one, &limiter("one", "dapi-2")));
    }
}
