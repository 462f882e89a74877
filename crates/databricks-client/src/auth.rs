//! Authentication: where tokens come from, and the headers that carry them.
//!
//! [`Credentials`] is the public type. For each call it returns the `Authorization` header (`headers`). Its token is
//! either constant or comes from a `token_source`, which sends a `token_request`; `token_cache` keeps one token for
//! each workspace and refreshes it before it expires. `environment` builds a credential from the standard variables and
//! profiles of Databricks' own tools.
//!
//! Does not belong here: which host may receive a token (`host::policy`), and requests to the APIs (`client`).

mod access_token;
mod azure;
mod client_secret;
mod credentials;
mod environment;
mod fetch_context;
mod google;
mod headers;
mod oauth;
mod profile;
mod secret;
mod subject_token;
mod token_cache;
mod token_endpoints;
mod token_request;
mod token_source;

pub use azure::{AzureCloud, AzureEnvironment, InvalidAzureEnvironment};
pub use client_secret::ClientSecret;
pub use credentials::Credentials;
pub use environment::{EnvironmentCredentials, EnvironmentError};
pub use secret::clean_secret;
pub use subject_token::{Environment, SubjectToken};
pub use token_endpoints::TokenEndpoints;

pub(crate) use fetch_context::FetchContext;
pub(crate) use headers::AuthHeaders;
