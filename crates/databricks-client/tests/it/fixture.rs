//! Clients for mock servers, and their responses.

use std::time::Duration;

use databricks_client::{Client, ClientPool, ClientPoolBuilder, Credentials, Host, RetryPolicy};
use serde_json::{Map, Value, json};
use wiremock::{MockServer, ResponseTemplate};

/// The default policy without delays.
pub(crate) fn without_delays() -> RetryPolicy {
    RetryPolicy { first_delay: Duration::ZERO, max_delay: Duration::ZERO, ..RetryPolicy::default() }
}

/// A policy without retries.
pub(crate) fn once() -> RetryPolicy {
    RetryPolicy { max_attempts: 1, ..without_delays() }
}

pub(crate) fn builder() -> ClientPoolBuilder {
    ClientPool::builder().product("it", "1.2.3").retry(without_delays())
}

pub(crate) fn token() -> Credentials {
    Credentials::personal_access_token("the test's token", "dapi-test".to_owned().into())
}

/// Returns a client for a URL such as `http://127.0.0.1:1`.
pub(crate) fn client_of(builder: ClientPoolBuilder, address: &str) -> Client {
    builder.build().unwrap().client(&Host::parse(address).unwrap(), token())
}

pub(crate) fn client(server: &MockServer) -> Client {
    client_of(builder(), &server.uri())
}

pub(crate) fn answer(status: u16, body: Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(body)
}

pub(crate) fn body(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is not an object"),
    }
}

/// The error body for an unknown run (databricks-api.md#cancel).
pub(crate) fn no_such_run() -> Value {
    json!({"error_code": "INVALID_PARAMETER_VALUE", "message": "Run 7 does not exist."})
}
