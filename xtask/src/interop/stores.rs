//! The files of Flyte's runtime in the three kinds of object store, each a real program: minio, fake-gcs-server, Azurite.

use super::programs::{self, Program, Programs, Setup};
use super::python::Python;
use super::store::{self, Store};
use super::tally::Tally;
use crate::tools;
use anyhow::Result;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use xshell::Shell;

/// The bucket, or the container, in each of them.
const BUCKET: &str = "flyte-data";

/// Whom Azurite knows without being told: the development account of Azure's own documentation.
const ACCOUNT: &str = "devstoreaccount1";

/// Starts the stores and our programs, and lets a Python client look at every outcome in each store.
pub(crate) fn run(sh: &Shell) -> Result<String> {
    let (minio, gcs, azurite) =
        (tools::minio(sh)?, tools::fake_gcs_server(sh)?, tools::azurite(sh)?);
    let python = Python::prepare(sh, true)?;
    let folder = programs::folder(sh)?;
    let s3 = Store::start(sh, &minio)?;
    let gs = start_gcs(sh, &gcs, &folder)?;
    let azure = start_azurite(sh, &azurite, &folder)?;

    // The documented way to a store of Google's that is not Google's: the key file names it, and asks for no token.
    let key = folder.join("gcs-key.json");
    sh.write_file(
        &key,
        format!(
            r#"{{"gcs_base_url": "{}", "disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": ""}}"#,
            gs.endpoint
        ),
    )?;
    let key = key.display().to_string();
    let [endpoint, id, secret] = s3.variables();
    let variables = [
        endpoint,
        id,
        secret,
        ("GOOGLE_SERVICE_ACCOUNT", key.as_str()),
        ("GOOGLE_ALLOW_HTTP", "true"),
        ("AZURE_STORAGE_USE_EMULATOR", "true"),
        ("AZURITE_BLOB_STORAGE_URL", azure.endpoint.as_str()),
    ];
    let programs = Programs::start(sh, Setup { server_variables: &variables, ..Setup::default() })?;
    let requests = sh.current_dir().join("fixtures/requests").display().to_string();
    let addresses = [
        store::ADDRESS.to_owned(),
        format!("gs://{BUCKET}"),
        format!("abfs://{BUCKET}@{ACCOUNT}.dfs.core.windows.net"),
        format!("abfss://{BUCKET}@{ACCOUNT}.dfs.core.windows.net"),
    ];
    let mut arguments =
        vec![programs.server.as_str(), &programs.workspace, &requests, programs::TOKEN];
    arguments.extend(addresses.iter().map(String::as_str));
    let tally: Tally = python.run_with(sh, "stores.py", &arguments, &variables)?;
    if tally.failed > 0 {
        programs.show_logs(sh);
    }
    super::report(&tally)?;
    Ok(format!("{tally} in minio, fake-gcs-server and Azurite"))
}

/// A store that listens. It ends when this is dropped.
struct Listening {
    endpoint: String,
    _program: Program,
}

fn start_gcs(sh: &Shell, program: &Path, folder: &Path) -> Result<Listening> {
    let [port, _] = programs::free_ports()?;
    let (address, port_text) = (format!("127.0.0.1:{port}"), port.to_string());
    let flags = [
        ("-scheme", "http"),
        ("-backend", "memory"),
        ("-host", "127.0.0.1"),
        ("-port", &port_text),
        // Whose paths are buckets and objects.
        ("-public-host", &address),
        ("-log-level", "warn"),
    ];
    started(Program::start(sh, program, folder, &flags, &[])?, port)
}

fn start_azurite(sh: &Shell, program: &Path, folder: &Path) -> Result<Listening> {
    let disk = folder.join("azurite");
    sh.remove_path(&disk)?;
    sh.create_dir(&disk)?;
    let [port, _] = programs::free_ports()?;
    let port_text = port.to_string();
    let disk = disk.display().to_string();
    let flags = [
        ("--blobHost", "127.0.0.1"),
        ("--blobPort", port_text.as_str()),
        ("--location", disk.as_str()),
        ("--silent", "--disableTelemetry"),
        // object_store may be newer than the versions of the service that Azurite knows.
        ("--skipApiVersionCheck", "--loose"),
    ];
    started(Program::start(sh, program, folder, &flags, &[])?, port)
}

fn started(mut program: Program, port: u16) -> Result<Listening> {
    let socket = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    program.wait_for(|_| TcpStream::connect(socket).is_ok().then_some(()))?;
    Ok(Listening { endpoint: format!("http://{socket}"), _program: program })
}
