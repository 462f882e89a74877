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

/// A key that nobody has: Base64 of `another-secret`.
const WRONG_KEY: &str = "YW5vdGhlci1zZWNyZXQ=";

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
    let in_azure = format!("abfs://{BUCKET}@{ACCOUNT}.dfs.core.windows.net");
    let mut tally = drive(
        sh,
        &python,
        "outcomes",
        [&variables, &variables],
        &[
            store::ADDRESS,
            &format!("gs://{BUCKET}"),
            &in_azure,
            &format!("abfss://{BUCKET}@{ACCOUNT}.dfs.core.windows.net"),
            // As Flyte's own storage writes it: the account is the environment's.
            &format!("abfs://{BUCKET}"),
        ],
    )?;
    // fake-gcs-server asks nobody who he is. The last of a name wins.
    let wrong = [
        ("FLYTE_AWS_SECRET_ACCESS_KEY", "another-secret"),
        ("AZURE_STORAGE_ACCOUNT_KEY", WRONG_KEY),
    ];
    let locked_out = [&variables[..], &wrong].concat();
    tally +=
        drive(sh, &python, "refusals", [&locked_out, &variables], &[store::ADDRESS, &in_azure])?;
    super::report(&tally)?;
    Ok(format!("{tally} in minio, fake-gcs-server and Azurite"))
}

/// Starts our programs, and lets `stores.py` look at them with files in stores of these addresses. The variables are
/// the server's, then the client's.
fn drive(
    sh: &Shell,
    python: &Python,
    what: &str,
    [of_server, of_client]: [&[(&str, &str)]; 2],
    addresses: &[&str],
) -> Result<Tally> {
    // A success that is told without a look at the store is none here.
    let server_flags = [("--require-error-file", "")];
    let programs = Programs::start(
        sh,
        Setup { server_flags: &server_flags, server_variables: of_server, ..Setup::default() },
    )?;
    let requests = sh.current_dir().join("fixtures/requests").display().to_string();
    let arguments =
        [&programs.server, &programs.workspace, requests.as_str(), programs::TOKEN, what];
    let tally =
        python.run_with(sh, "stores.py", &[&arguments[..], addresses].concat(), of_client)?;
    if tally.failed > 0 {
        programs.show_logs(sh);
    }
    Ok(tally)
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
