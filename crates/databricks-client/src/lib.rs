//! A client for the Jobs API of Databricks: submit a run, watch it, read what it wrote, cancel it. Beside that it reads
//! clusters and files, and runs [SQL statements](statements) at a warehouse.
//!
//! It knows nothing of who calls it. A [`ClientPool`] keeps one set of connections for each host; a [`Client`] is one
//! host with one [`Credentials`]. Failures that pass are tried again inside each call, within a [`RetryPolicy`] and
//! the caller's deadline; an [`Error`] says how often and how long.
//!
//! All calls to one host with one credential share a budget ([`BudgetPolicy`]): so many at once, and so many reads and
//! writes a second, first come, first served. A host that fails ten times in a row is left alone for two seconds at a
//! time. [`ClientPool::workspaces`] tells how every host stands, an [`Observer`] what happens.
//!
//! ```no_run
//! use databricks_client::{ClientPool, Credentials, Host, jobs::SubmitRun};
//! # async fn example(token: secrecy::SecretString, body: serde_json::Map<String, serde_json::Value>)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let pool = ClientPool::builder().product("my-program", "1.0.0").build()?;
//! let host = Host::parse("dbc-1234.cloud.databricks.com")?;
//! let client = pool.client(&host, Credentials::personal_access_token("my token", token));
//! let run_id = client.submit_run(&SubmitRun::new(body).with_idempotency_token("once")).await?;
//! let run = client.get_run(run_id).await?;
//! # Ok(()) }
//! ```

#![forbid(unsafe_code)]

mod backoff;
mod breaker;
mod budget;
mod client;
pub mod clusters;
mod credentials;
pub mod dbfs;
mod error;
mod error_body;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod host;
mod host_policy;
mod int64;
pub mod jobs;
mod observe;
mod open_enum;
mod pool;
mod request;
mod retry;
mod roots;
mod run_id;
mod spans;
pub mod statements;
mod transport;
pub mod volumes;
pub mod workspace;

pub use budget::{BudgetPolicy, Lane, Rate};
pub use client::Client;
pub use credentials::{
    AuthError, Authorities, AzureCloud, AzureEnvironment, ClientSecret, Credentials, Environment,
    FromEnvironment, NoAzureEnvironment, SubjectToken,
};
pub use error::{Error, ErrorKind};
pub use host::{Host, HostError};
pub use host_policy::{HostPattern, HostPolicy, HostRefused, InvalidHostPattern};
pub use observe::{
    Attempt, BreakerSnapshot, BudgetSnapshot, BudgetWait, LaneSnapshot, LastFailure, Mint,
    Observer, WorkspaceSnapshot,
};
pub use pool::{ClientPool, ClientPoolBuilder, JobsApi};
pub use retry::RetryPolicy;
pub use run_id::{InvalidRunId, RunId};
pub use spans::Propagate;
