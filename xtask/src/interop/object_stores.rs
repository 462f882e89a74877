//! Reads the files of Flyte's runtime from three object stores: minio, fake-gcs-server and Azurite.

use super::minio::{self, Minio};
use super::programs::{self, Program, Programs, Setup};
use super::python::Python;
use super::tally::Tally;
use crate::tools;
use anyhow::Result;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use xshell::Shell;

/// Name of the bucket or container in each store.
const BUCKET: &str = "flyte-data";

/// Azurite's default account: the development account of Azure's documentation.
const ACCOUNT: &str = "devstoreaccount1";

/// A key that Azurite rejects: Base64 of `another-secret`.
const WRONG_KEY: &str = "YW5vdGhlci1zZWNyZXQ=";

/// Starts the stores, the emulator and the server, and checks every outcome in each store with a Python client.
pub(crate) fn run(sh: &Shell) -> Result<String> {
    let (minio_program, gcs, azurite) =
        (tools::minio(sh)?, tools::fake_gcs_server(sh)?, tools::azurite(sh)?);
    let python = Python::prepare(sh, true)?;
    let folder = programs::folder(sh)?;
    let s3 = Minio::start(sh, &minio_program)?;
    let gs = start_gcs(sh, &gcs, &folder)?;
    let azure = start_azurite(sh, &azurite, &folder)?;

    // The documented way to use another server in place of Google's: the key file names it and disables OAuth.
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
    let in_azure = format!("abfs://{BUCKET}@{ACCOUNT}.dfs.core.windows.net");
    let mut tally = drive(
        sh,
        &python,
        "outcomes",
        [&variables, &variables],
        &[
            minio::ADDRESS,
            &format!("gs://{BUCKET}"),
            &in_azure,
            &format!("abfss://{BUCKET}@{ACCOUNT}.dfs.core.windows.net"),
            // The form that Flyte's storage writes: the account comes from the environment.
            &format!("abfs://{BUCKET}"),
        ],
    )?;
    // fake-gcs-server checks no credentials. The last value of a variable wins.
    let wrong = [
        ("FLYTE_AWS_SECRET_ACCESS_KEY", "another-secret"),
        ("AZURE_STORAGE_ACCOUNT_KEY", WRONG_KEY),
    ];
    let with_wrong_keys = [&variables[..], &wrong].concat();
    tally += drive(
        sh,
        &python,
        "rejections",
        [&with_wrong_keys, &variables],
        &[minio::ADDRESS, &in_azure],
    )?;
    super::report(&tally)?;
    Ok(format!("{tally} in minio, fake-gcs-server and Azurite"))
}

/// Starts the emulator and the server, and runs `stores.py` for these store addresses. The variables are those of the
/// server, then those of the client.
fn drive(
    sh: &Shell,
    python: &Python,
    what: &str,
    [server_variables, client_variables]: [&[(&str, &str)]; 2],
    addresses: &[&str],
) -> Result<Tally> {
    // A success that was not verified in the store must fail.
    let server_flags = [("--require-error-file", "")];
    let programs = Programs::start(
        sh,
        Setup { server_flags: &server_flags, server_variables, ..Setup::default() },
    )?;
    let requests = sh.current_dir().join("fixtures/requests").display().to_string();
    let arguments =
        [&programs.server, &programs.workspace, requests.as_str(), programs::TOKEN, what];
    let tally = python.run_with(
        sh,
        "stores.py",
        &[&arguments[..], addresses].concat(),
        client_variables,
    )?;
    if tally.failed > 0 {
        programs.show_logs(sh);
    }
    Ok(tally)
}

/// A running store. Dropping this stops it.
struct RunningStore {
    endpoint: String,
    _program: Program,
}

fn start_gcs(sh: &Shell, program: &Path, folder: &Path) -> Result<RunningStore> {
    let [port, _] = programs::free_ports()?;
    let (address, port_text) = (format!("127.0.0.1:{port}"), port.to_string());
    let flags = [
        ("-scheme", "http"),
        ("-backend", "memory"),
        ("-host", "127.0.0.1"),
        ("-port", &port_text),
        // Requests to this host are path-style: bucket, then object.
        ("-public-host", &address),
        ("-log-level", "warn"),
    ];
    wait_until_listening(Program::start(sh, program, folder, &flags, &[])?, port)
}

fn start_azurite(sh: &Shell, program: &Path, folder: &Path) -> Result<RunningStore> {
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
        // object_store can use an API version newer than Azurite knows.
        ("--skipApiVersionCheck", "--loose"),
    ];
    wait_until_listening(Program::start(sh, program, folder, &flags, &[])?, port)
}

fn wait_until_listening(mut program: Program, port: u16) -> Result<RunningStore> {
    let socket = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    program.wait_for(|_| TcpStream::connect(socket).is_ok().then_some(()))?;
    Ok(RunningStore { endpoint: format!("http://{socket}"), _program: program })
}
