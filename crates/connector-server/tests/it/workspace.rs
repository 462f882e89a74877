//! Configuration of the Databricks connector for an emulator. Captured requests are in `fixtures`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use databricks_connector::{Config, StorageFuture, TaskStorage};
use databricks_emulator::{Calls, Emulator, Endpoint, Fault, FaultRule, When};
use flyteidl2::connector::TaskCategory;
use secrecy::SecretString;
use tokio::net::TcpSocket;

/// The connector's own token, used for requests without one.
pub const CONNECTOR_TOKEN: &str = "dapi-connector";

/// An object store in which every task has written its outputs and none an error file.
#[derive(Debug)]
struct SuccessfulTaskStorage;

impl TaskStorage for SuccessfulTaskStorage {
    fn read<'a>(&'a self, _: &'a str, _: u64) -> StorageFuture<'a, Option<Vec<u8>>> {
        Box::pin(async { Ok(None) })
    }

    fn size<'a>(&'a self, _: &'a str) -> StorageFuture<'a, Option<u64>> {
        Box::pin(async { Ok(Some(0)) })
    }
}

/// Returns a configuration with `emulator` as the default workspace, called over HTTPS.
pub fn connector_config(emulator: &Emulator) -> Config {
    Config {
        instance: Some(emulator.https_host()),
        access_token: Some(SecretString::from(CONNECTOR_TOKEN)),
        allowed_hosts: vec!["localhost:*".to_owned()],
        extra_root_certs_pem: Some(emulator.certificate_pem().as_bytes().to_vec()),
        task_storage: Arc::new(SuccessfulTaskStorage),
        ..Config::default()
    }
}

pub fn task_category() -> TaskCategory {
    TaskCategory { name: "databricks".to_owned(), version: 0 }
}

/// Returns a host that refuses connections while the socket is held.
pub fn unreachable_host() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let host = format!("localhost:{}", socket.local_addr().unwrap().port());
    (socket, host)
}

/// Injects a fault into the next call of `endpoint`.
pub fn inject_once(emulator: &Emulator, endpoint: Endpoint, fault: Fault) {
    emulator.inject(FaultRule::on_calls(Calls::to([endpoint]), When::once(fault)));
}
