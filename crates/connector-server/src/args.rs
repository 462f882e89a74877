//! What the operator typed: flags, and environment variables. Nothing is checked here but its form.

use std::{ffi::OsString, fmt, fmt::Write as _, path::PathBuf, sync::Arc};

use clap::{Parser, Subcommand, ValueEnum};
use connector_service::{
    ServiceArgs, ServiceEnvironment,
    args::{NotText, VARIABLES as SERVICE_VARIABLES, Variable, path, text},
};
use secrecy::SecretString;

use crate::demo::DemoArgs;

mod workspaces;

pub use workspaces::WorkspaceArgs;

/// Runs Flyte tasks on Databricks: a Flyte connector server.
///
/// Without a subcommand it serves. The flags are those of the Python server `c0`, and some more.
#[derive(Debug, Clone, Parser)]
#[command(name = "connector-server", version, after_help = environment_help())]
// `--modules a b demo` is the subcommand after two modules, not three modules.
#[command(subcommand_precedence_over_arg = true)]
pub struct Args {
    /// The flags of `serve`.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// What to do; none means `serve`.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Serve (the default).
    Serve,
    /// Prove each of the connector's own credentials at its workspace, and print what came of it. Starts nothing.
    Check,
    /// Show a task's life against a fake workspace, in this process. Needs no Databricks account.
    // The flags of `serve` are global, so its help would list them all, and they mean nothing here.
    #[command(override_help = DEMO_HELP)]
    Demo(DemoArgs),
}

const DEMO_HELP: &str = "\
Show a task's life against a fake workspace, in this process. Needs no Databricks account.

Usage: connector-server demo [OPTIONS]

Options:
      --json  Print one line of JSON per answer, and one with the summary
  -h, --help  Print help

It takes some ten seconds. The flags and variables of serve mean nothing here.";

/// The flags of `serve`. They may stand before or after the word.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Options of serve")]
pub struct ServeArgs {
    /// What Flyte is told when the user's own code failed, or ran out of its time.
    #[arg(long, value_name = "WHAT", default_value = "retryable", global = true)]
    pub user_failures: UserFailures,

    /// A TOML file with workspaces and their credentials [env: `FLYTE_DATABRICKS_WORKSPACES`].
    #[arg(long = "workspaces", value_name = "FILE", global = true)]
    pub workspaces_file: Option<PathBuf>,

    /// What starts Flyte's runtime on Databricks. Work that the one from Git cannot run takes the other.
    #[arg(long, value_name = "WHENCE", default_value = "git", global = true)]
    pub entrypoint: Entrypoint,

    /// The version of the Jobs API that is asked for. 2.2 falls back to 2.1 by itself where a gateway knows no other.
    #[arg(long, value_name = "VERSION", default_value = "2.2", global = true)]
    pub jobs_api: JobsApi,

    /// Do not tag new clusters with the Flyte run that they are for.
    #[arg(long, global = true)]
    pub no_cluster_tags: bool,

    /// Fail a task whose success cannot be checked for an error file, instead of warning.
    #[arg(long, global = true)]
    pub require_error_file: bool,

    // These come last: what follows them would stand under their headings in the help text.
    /// The generic flags.
    #[command(flatten)]
    pub service: ServiceArgs,

    /// How Databricks is called.
    #[command(flatten)]
    pub workspaces: WorkspaceArgs,
}

/// What Flyte is told when the user's own code failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UserFailures {
    /// Flyte tries again if the task has retries left.
    Retryable,
    /// Flyte does not try again.
    Permanent,
}

/// What starts Flyte's runtime on Databricks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Entrypoint {
    /// The file in Flyte's repository that the Python plugin uses; Databricks checks it out from GitHub.
    Git,
    /// A script that the connector uploads to the home of whoever submits the run; needs no GitHub.
    Workspace,
}

/// A version of the Jobs API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum JobsApi {
    /// The current one.
    #[value(name = "2.2")]
    V2_2,
    /// The one before, for workspaces and gateways that are behind.
    #[value(name = "2.1")]
    V2_1,
}

pub(crate) const INSTANCE: &str = "FLYTE_DATABRICKS_INSTANCE";
pub(crate) const ACCESS_TOKEN: &str = "FLYTE_DATABRICKS_ACCESS_TOKEN";
pub(crate) const ACCESS_TOKEN_HOSTS: &str = "FLYTE_DATABRICKS_ACCESS_TOKEN_HOSTS";
pub(crate) const WORKSPACES: &str = "FLYTE_DATABRICKS_WORKSPACES";
pub(crate) const SQL_WAREHOUSE: &str = "FLYTE_DATABRICKS_SQL_WAREHOUSE";
pub(crate) const ALLOWED_HOSTS: &str = "FLYTE_DATABRICKS_ALLOWED_HOSTS";
pub(crate) const SECRET_NAMESPACES: &str = "FLYTE_DATABRICKS_SECRET_NAMESPACES";
pub(crate) const RUN_DEFAULTS: &str = "FLYTE_DATABRICKS_RUN_DEFAULTS";
pub(crate) const SSL_CERT_FILE: &str = "SSL_CERT_FILE";
pub(crate) const OUTPUT_BUCKETS: &str = "FLYTE_OUTPUT_BUCKETS";
pub(crate) const LOG_TOKEN_KEY: &str = "FLYTE_LOG_TOKEN_KEY";
pub(crate) const S3_ENDPOINT: &str = "FLYTE_AWS_ENDPOINT";
pub(crate) const S3_ACCESS_KEY_ID: &str = "FLYTE_AWS_ACCESS_KEY_ID";
pub(crate) const S3_SECRET_ACCESS_KEY: &str = "FLYTE_AWS_SECRET_ACCESS_KEY";

/// The environment variables that this program reads beside the generic ones, in the order of the help text. An empty
/// one counts as unset.
const OWN_VARIABLES: [Variable; 15] = [
    Variable {
        name: INSTANCE,
        help: "the workspace of tasks that name none, such as adb-1.2.azuredatabricks.net",
    },
    Variable {
        name: ACCESS_TOKEN,
        help: "the connector's own token, used when a task brings no credential; /etc/secrets/flyte_databricks_access_token is read when it is unset",
    },
    Variable {
        name: ACCESS_TOKEN_HOSTS,
        help: "the workspaces that this token is for, comma-separated [default: FLYTE_DATABRICKS_INSTANCE]",
    },
    Variable {
        name: WORKSPACES,
        help: "a TOML file with several workspaces and their credentials; --workspaces wins",
    },
    Variable {
        name: "DATABRICKS_*, ARM_*",
        help: "one more workspace and its credential, as Databricks' own tools read them, profiles included",
    },
    Variable {
        name: SQL_WAREHOUSE,
        help: "the id of a SQL warehouse in FLYTE_DATABRICKS_INSTANCE, to read CPU and memory of runs with; --sql-warehouse wins [default: none]",
    },
    Variable {
        name: ALLOWED_HOSTS,
        help: "host[:port] patterns allowed beside Databricks' own domains, comma-separated; * stands for one label or a port",
    },
    Variable {
        name: SECRET_NAMESPACES,
        help: "the namespaces whose Kubernetes Secrets (databricks-token) serve tasks that bring no token, comma-separated, * for all [default: none]",
    },
    Variable {
        name: RUN_DEFAULTS,
        help: "what every run gets that does not say otherwise: a JSON object such as {\"queue\": {\"enabled\": true}}, or the path of a file with one",
    },
    Variable {
        name: SSL_CERT_FILE,
        help: "PEM file with roots to trust for outgoing TLS, beside the system's",
    },
    Variable {
        name: OUTPUT_BUCKETS,
        help: "the only buckets whose error.pb, outputs.pb and delivered logs are read, comma-separated [default: all, and files]",
    },
    Variable {
        name: LOG_TOKEN_KEY,
        help: "a secret of at least 16 characters, the same for every replica, so that nobody else can make the tokens of log pages",
    },
    Variable {
        name: S3_ENDPOINT,
        help: "an S3 that is not Amazon's, as Flyte's runtime takes it; AWS_* and the other clouds' variables work too",
    },
    Variable { name: S3_ACCESS_KEY_ID, help: "the key id for it" },
    Variable { name: S3_SECRET_ACCESS_KEY, help: "the key for it" },
];

/// Every environment variable that this program reads, in the order of the help text.
pub fn variables() -> impl Iterator<Item = Variable> {
    OWN_VARIABLES.into_iter().chain(SERVICE_VARIABLES)
}

fn environment_help() -> String {
    let mut help = "Environment:\n".to_owned();
    for Variable { name, help: text } in variables() {
        // Writing to a String cannot fail.
        let _never = writeln!(help, "  {name}\n          {text}");
    }
    help
}

/// The environment variables, as they were set.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `FLYTE_DATABRICKS_INSTANCE`.
    pub instance: Option<String>,
    /// `FLYTE_DATABRICKS_ACCESS_TOKEN`.
    pub access_token: Option<SecretString>,
    /// `FLYTE_DATABRICKS_ACCESS_TOKEN_HOSTS`.
    pub access_token_hosts: Option<String>,
    /// `FLYTE_DATABRICKS_WORKSPACES`.
    pub workspaces: Option<PathBuf>,
    /// Reads the variables that a file names, and those of Databricks' own tools.
    pub standard: StandardVariables,
    /// `FLYTE_DATABRICKS_SQL_WAREHOUSE`.
    pub sql_warehouse: Option<String>,
    /// `FLYTE_DATABRICKS_ALLOWED_HOSTS`.
    pub allowed_hosts: Option<String>,
    /// `FLYTE_DATABRICKS_SECRET_NAMESPACES`.
    pub secret_namespaces: Option<String>,
    /// `FLYTE_DATABRICKS_RUN_DEFAULTS`.
    pub run_defaults: Option<String>,
    /// `SSL_CERT_FILE`.
    pub ssl_cert_file: Option<PathBuf>,
    /// `FLYTE_OUTPUT_BUCKETS`.
    pub output_buckets: Option<String>,
    /// `FLYTE_LOG_TOKEN_KEY`.
    pub log_token_key: Option<SecretString>,
    /// `FLYTE_AWS_ENDPOINT`.
    pub s3_endpoint: Option<String>,
    /// `FLYTE_AWS_ACCESS_KEY_ID`.
    pub s3_access_key_id: Option<SecretString>,
    /// `FLYTE_AWS_SECRET_ACCESS_KEY`.
    pub s3_secret_access_key: Option<SecretString>,
    /// The generic variables.
    pub service: ServiceEnvironment,
    /// Names that look like ours and are none, as [`misspelt`] finds them.
    pub misspelt: Vec<String>,
}

/// The value of a variable, by its name.
pub type ReadVariable = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Reads variables by name, also long after the start: a token in one is exchanged again and again.
#[derive(Clone)]
pub struct StandardVariables(pub Arc<ReadVariable>);

impl Default for StandardVariables {
    /// None is set.
    fn default() -> Self {
        Self(Arc::new(|_name| None))
    }
}

impl fmt::Debug for StandardVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandardVariables").finish_non_exhaustive()
    }
}

impl Environment {
    /// Reads it through `get`, which is `std::env::var_os` but for tests. Blanks around a value are dropped, as a
    /// mounted secret often ends in a line feed; what is then empty counts as unset.
    ///
    /// # Errors
    ///
    /// [`NotText`] when a value is not valid UTF-8. A path need not be.
    pub fn read(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, NotText> {
        let text = |name| text(&get, name);
        Ok(Self {
            instance: text(INSTANCE)?,
            access_token: text(ACCESS_TOKEN)?.map(SecretString::from),
            access_token_hosts: text(ACCESS_TOKEN_HOSTS)?,
            workspaces: path(&get, WORKSPACES),
            standard: StandardVariables::default(),
            sql_warehouse: text(SQL_WAREHOUSE)?,
            allowed_hosts: text(ALLOWED_HOSTS)?,
            secret_namespaces: text(SECRET_NAMESPACES)?,
            run_defaults: text(RUN_DEFAULTS)?,
            ssl_cert_file: path(&get, SSL_CERT_FILE),
            output_buckets: text(OUTPUT_BUCKETS)?,
            log_token_key: text(LOG_TOKEN_KEY)?.map(SecretString::from),
            s3_endpoint: text(S3_ENDPOINT)?,
            s3_access_key_id: text(S3_ACCESS_KEY_ID)?.map(SecretString::from),
            s3_secret_access_key: text(S3_SECRET_ACCESS_KEY)?.map(SecretString::from),
            service: ServiceEnvironment::read_from(&get)?,
            misspelt: Vec::new(),
        })
    }
}

/// The variables that begin as ours do and that nothing reads. Those that Kubernetes makes of a Service of that name are
/// left out.
pub fn misspelt(names: impl Iterator<Item = String>) -> Vec<String> {
    let is_ours = |name: &str| {
        ["FLYTE_DATABRICKS_", "FLYTE_CONNECTOR_"].iter().any(|prefix| name.starts_with(prefix))
    };
    let is_of_a_service = |name: &str| {
        name.ends_with("_SERVICE_HOST")
            || name.contains("_SERVICE_PORT")
            || name.ends_with("_PORT")
            || name.contains("_PORT_")
    };
    let mut names: Vec<String> = names
        .filter(|name| is_ours(name) && !is_of_a_service(name))
        .filter(|name| variables().all(|variable| variable.name != name))
        .collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Args {
        Args::try_parse_from(line.split_whitespace()).unwrap()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_help_of_the_demo_has_its_own_flags_and_no_other() {
        let command = <DemoArgs as clap::Args>::augment_args(clap::Command::new("demo"));
        let own = command.get_arguments().filter_map(clap::Arg::get_long);
        let mut own: Vec<_> = own.chain(["help"]).collect();
        let mut shown: Vec<_> =
            DEMO_HELP.split_whitespace().filter_map(|word| word.strip_prefix("--")).collect();
        own.sort_unstable();
        shown.sort_unstable();
        assert_eq!(shown, own);
    }

    #[test]
    fn every_line_of_c0_is_accepted() {
        let plain = parse("c0");
        assert_eq!(
            (
                plain.serve.service.port,
                plain.serve.service.prometheus_port,
                plain.serve.service.timeout
            ),
            (8000, 9090, None)
        );
        assert!(plain.command.is_none());

        let full =
            parse("c0 --port 8080 --prometheus_port 9092 --worker 10 --timeout 5 --modules m1 m2");
        assert_eq!(
            (
                full.serve.service.port,
                full.serve.service.prometheus_port,
                full.serve.service.timeout
            ),
            (8080, 9092, Some(5))
        );
        assert_eq!(full.serve.service.modules, ["m1", "m2"]);

        let repeated = parse("c0 --modules m1 --modules m2 --prometheus-port 1");
        assert_eq!(repeated.serve.service.modules, ["m1", "m2"]);
        assert_eq!(repeated.serve.service.prometheus_port, 1);
    }

    #[test]
    fn modules_do_not_swallow_a_subcommand_or_a_flag() {
        let served = parse("c0 --modules m1 m2 serve --port 7");
        assert!(matches!(served.command, Some(Command::Serve)));
        assert_eq!(served.serve.service.modules, ["m1", "m2"]);
        assert_eq!(served.serve.service.port, 7);
        assert_eq!(parse("c0 --modules m1 m2 --port 7").serve.service.modules, ["m1", "m2"]);
    }

    #[test]
    fn flags_stand_before_or_after_serve() {
        assert_eq!(parse("x --port 7 serve").serve.service.port, 7);
        assert_eq!(parse("x serve --port 7").serve.service.port, 7);
        assert_eq!(parse("x --port 7 serve --host localhost").serve.service.port, 7);
    }

    #[test]
    fn the_help_names_every_variable() {
        let help = Args::command().render_help().to_string();
        for variable in variables() {
            assert!(help.contains(variable.name), "{} is missing", variable.name);
        }
    }

    #[test]
    fn blank_variables_count_as_unset_and_blanks_around_a_value_are_dropped() {
        let environment = Environment::read(|name| {
            Some(OsString::from(match name {
                INSTANCE => " adb-1.azuredatabricks.net\n",
                SSL_CERT_FILE => "",
                _ => " \n",
            }))
        })
        .unwrap();
        assert_eq!(environment.instance.as_deref(), Some("adb-1.azuredatabricks.net"));
        assert!(environment.access_token.is_none());
        assert!(environment.ssl_cert_file.is_none());
    }

    #[test]
    fn a_misspelt_variable_is_noticed_and_those_of_services_are_not() {
        let names = [
            "FLYTE_DATABRICKS_INSTANCE",
            "FLYTE_DATABRICKS_INSTANCES",
            "FLYTE_CONNECTOR_TLS_CRT",
            "FLYTE_CONNECTOR_SERVICE_HOST",
            "FLYTE_CONNECTOR_SERVICE_PORT_GRPC",
            "FLYTE_CONNECTOR_PORT",
            "FLYTE_CONNECTOR_PORT_8000_TCP_ADDR",
            "FLYTE_INTERNAL_EXECUTION_PROJECT",
            "PATH",
        ];
        assert_eq!(
            misspelt(names.iter().map(|&name| name.to_owned())),
            ["FLYTE_CONNECTOR_TLS_CRT", "FLYTE_DATABRICKS_INSTANCES"]
        );
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let environment =
            Environment::read(|name| (name == ACCESS_TOKEN).then(|| OsString::from("dapi-canary")))
                .unwrap();
        assert!(!format!("{environment:?}").contains("canary"));
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_text_is_named_and_not_shown() {
        use std::os::unix::ffi::OsStringExt as _;
        let error = Environment::read(|name| {
            (name == ACCESS_TOKEN).then(|| OsString::from_vec(vec![b'd', 0xff]))
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "FLYTE_DATABRICKS_ACCESS_TOKEN is not valid UTF-8");
    }
}
