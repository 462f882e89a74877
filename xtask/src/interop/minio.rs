//! minio: a real S3 for the duration of a check.

use super::programs::{self, Program};
use anyhow::Result;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use xshell::Shell;

/// The only bucket.
const BUCKET: &str = "flyte-data";

/// Its address.
pub(super) const ADDRESS: &str = "s3://flyte-data";

const USER: &str = "interop";
const PASSWORD: &str = "interop-secret";

/// A running minio. Dropping this stops it.
pub(super) struct Minio {
    endpoint: String,
    _program: Program,
}

impl Minio {
    /// Starts minio with one empty bucket.
    pub(super) fn start(sh: &Shell, minio: &Path) -> Result<Self> {
        let folder = programs::folder(sh)?;
        let disk = folder.join("store");
        sh.remove_path(&disk)?;
        // minio serves each directory as a bucket.
        sh.create_dir(disk.join(BUCKET))?;
        let [port, console] = programs::free_ports()?;
        let [address, console] = [port, console].map(|port| format!("127.0.0.1:{port}"));
        let mut program = Program::start(
            sh,
            minio,
            &folder,
            &[
                ("server", &disk.to_string_lossy()),
                ("--address", &address),
                ("--console-address", &console),
            ],
            &[("MINIO_ROOT_USER", USER), ("MINIO_ROOT_PASSWORD", PASSWORD)],
        )?;
        let socket = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        program.wait_for(|_| TcpStream::connect(socket).is_ok().then_some(()))?;
        Ok(Self { endpoint: format!("http://{address}"), _program: program })
    }

    /// Returns the variables with its address and credentials, for Flyte's runtime and the server.
    pub(super) fn variables(&self) -> [(&str, &str); 3] {
        [
            ("FLYTE_AWS_ENDPOINT", &self.endpoint),
            ("FLYTE_AWS_ACCESS_KEY_ID", USER),
            ("FLYTE_AWS_SECRET_ACCESS_KEY", PASSWORD),
        ]
    }
}
