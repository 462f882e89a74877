//! Configures and starts an emulator.

use crate::api::endpoint::ApiVersion;
use crate::emulator::Emulator;
use crate::faults::FaultPlan;
use crate::http::certificates::Certificates;
use crate::jobs::exec::ExecConfig;
use crate::jobs::script::Script;
use crate::oauth::TokenSettings;
use crate::start_error::StartError;
use secrecy::SecretString;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The token that is accepted when none is configured.
pub const DEFAULT_TOKEN: &str = "dapi-emulator";

/// Configures an [`Emulator`]. The defaults suit a test.
#[derive(Clone, Debug)]
#[must_use = "call `start` to start the emulator"]
pub struct EmulatorBuilder {
    settings: EmulatorSettings,
    certificates: Option<Arc<Certificates>>,
}

/// The settings of an emulator.
#[derive(Clone, Debug, Default)]
pub(crate) struct EmulatorSettings {
    /// Bearer tokens that never expire.
    pub(crate) tokens: Vec<SecretString>,
    pub(crate) issued_tokens: TokenSettings,
    pub(crate) faults: FaultPlan,
    pub(crate) user_name: String,
    pub(crate) http_port: u16,
    pub(crate) https_port: u16,
    pub(crate) default_script: Script,
    pub(crate) first_run_id: i64,
    pub(crate) unsupported_versions: BTreeSet<ApiVersion>,
    pub(crate) read_only_home: bool,
    pub(crate) writable_folders: Vec<String>,
    pub(crate) exec: Option<ExecConfig>,
    pub(crate) warehouses: Vec<String>,
    /// Base of the endpoints that OAuth discovery returns. Absent: the host of the request.
    pub(crate) oidc_base: Option<String>,
}

impl Emulator {
    /// Returns a builder with the default settings.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder::default()
    }
}

impl Default for EmulatorBuilder {
    fn default() -> Self {
        let settings = EmulatorSettings {
            user_name: "someone@example.com".to_owned(),
            first_run_id: 514_594_995_218_126,
            ..EmulatorSettings::default()
        };
        Self { settings, certificates: None }
    }
}

impl EmulatorBuilder {
    /// Accepts one more bearer token. Without any the token is [`DEFAULT_TOKEN`].
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.settings.tokens.push(token.into().into());
        self
    }

    /// Accepts one more bearer token that expires this long after the start.
    ///
    /// As a workspace does, the emulator rejects it during its last 30 seconds (databricks-api.md#oauth).
    pub fn expiring_token(mut self, token: impl Into<String>, lifetime: Duration) -> Self {
        self.settings.issued_tokens.expiring.push((token.into().into(), lifetime));
        self
    }

    /// Injects these faults from the start. [`Emulator::set_faults`] and [`Emulator::inject`] change them later.
    pub fn faults(mut self, plan: FaultPlan) -> Self {
        self.settings.faults = plan;
        self
    }

    /// Adds a service principal that may request tokens, from the workspace and from the emulated Azure endpoint.
    pub fn service_principal(
        mut self,
        client_id: impl Into<String>,
        secret: impl Into<String>,
    ) -> Self {
        self.settings.issued_tokens.principals.insert(client_id.into(), secret.into().into());
        self
    }

    /// Accepts tokens of this issuer in a token exchange.
    ///
    /// `jwks` is the issuer's JWK set as JSON. If `audience` is given, a token must name it.
    pub fn trust_issuer(mut self, jwks: impl Into<String>, audience: Option<String>) -> Self {
        self.settings.issued_tokens.trusted_issuer = Some((jwks.into(), audience));
        self
    }

    /// Sets the lifetime of minted tokens. The default is one hour.
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.issued_tokens.lifetime = lifetime;
        self
    }

    /// Sets the base URL of the endpoints that OAuth discovery returns, for tests of a hostile workspace.
    pub fn oidc_base(mut self, base: impl Into<String>) -> Self {
        self.settings.oidc_base = Some(base.into());
        self
    }

    /// Sets the owner of the tokens: `creator_user_name` of runs and `userName` of `scim/v2/Me`.
    pub fn user_name(mut self, user_name: impl Into<String>) -> Self {
        self.settings.user_name = user_name.into();
        self
    }

    /// Makes the user's home folder in the workspace read-only.
    pub fn read_only_home(mut self) -> Self {
        self.settings.read_only_home = true;
        self
    }

    /// Creates a workspace folder, such as `/Shared`, that the user may write to.
    pub fn writable_folder(mut self, path: impl Into<String>) -> Self {
        self.settings.writable_folders.push(path.into());
        self
    }

    /// Adds a SQL warehouse.
    pub fn warehouse(mut self, id: impl Into<String>) -> Self {
        self.settings.warehouses.push(id.into());
        self
    }

    /// Executes runs as local processes, except those whose name has a script.
    ///
    /// A run of one `spark_python_task` whose file is in the workspace starts a process when it enters RUNNING, and
    /// ends with that process. The other steps are those of the default script. Any other run fails in RUNNING with the
    /// reason. See [`ExecConfig`].
    pub fn exec(mut self, config: ExecConfig) -> Self {
        self.settings.exec = Some(config);
        self
    }

    /// Sets the port for plain HTTP. The default, 0, picks a free one.
    pub fn http_port(mut self, port: u16) -> Self {
        self.settings.http_port = port;
        self
    }

    /// Sets the port for HTTPS. The default, 0, picks a free one.
    pub fn https_port(mut self, port: u16) -> Self {
        self.settings.https_port = port;
        self
    }

    /// Serves HTTPS with the certificates of another emulator, so that clients need only one root certificate.
    pub fn certificates_from(mut self, other: &Emulator) -> Self {
        self.certificates = Some(other.certificates());
        self
    }

    /// Sets the script of runs whose name has none.
    pub fn default_script(mut self, script: Script) -> Self {
        self.settings.default_script = script;
        self
    }

    /// Sets the id of the first run, at most 2⁶². Later ids count up from it, so that they are reproducible.
    pub fn first_run_id(mut self, run_id: i64) -> Self {
        self.settings.first_run_id = run_id.min(1 << 62);
        self
    }

    /// Answers every call of this API version with 404 `Bad Target`, as a gateway that does not support it
    /// (databricks-api.md#further-facts).
    pub fn unsupported_version(mut self, version: ApiVersion) -> Self {
        self.settings.unsupported_versions.insert(version);
        self
    }

    /// Starts listening on both ports of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// Fails if a port is taken or the certificate cannot be generated.
    pub async fn start(self) -> Result<Emulator, StartError> {
        let Self { mut settings, certificates } = self;
        if settings.tokens.is_empty() && settings.issued_tokens.expiring.is_empty() {
            settings.tokens.push(DEFAULT_TOKEN.into());
        }
        let certificates = match certificates {
            Some(certificates) => certificates,
            None => Arc::new(Certificates::generate()?),
        };
        Emulator::start(settings, certificates).await
    }
}
