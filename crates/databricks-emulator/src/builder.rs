//! What an emulator is started with.

use crate::authority::Minting;
use crate::emulator::Emulator;
use crate::endpoint::ApiVersion;
use crate::exec::ExecConfig;
use crate::faults::FaultPlan;
use crate::script::Script;
use crate::tls::Tls;
use secrecy::SecretString;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The token that is accepted when none was named.
pub const DEFAULT_TOKEN: &str = "dapi-emulator";

/// The settings of an [`Emulator`]; the defaults suit a test.
#[derive(Clone, Debug)]
#[must_use = "an emulator listens only once it is started"]
pub struct EmulatorBuilder {
    pub(crate) tokens: Vec<SecretString>,
    /// Each with its life from the start on.
    pub(crate) expiring_tokens: Vec<(SecretString, Duration)>,
    pub(crate) faults: FaultPlan,
    pub(crate) user_name: String,
    pub(crate) http_port: u16,
    pub(crate) https_port: u16,
    pub(crate) default_script: Script,
    pub(crate) first_run_id: i64,
    pub(crate) bad_targets: BTreeSet<ApiVersion>,
    pub(crate) read_only_home: bool,
    pub(crate) writable_folders: Vec<String>,
    pub(crate) exec: Option<ExecConfig>,
    pub(crate) warehouses: Vec<String>,
    /// Of another emulator.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) minting: Minting,
    /// In place of the host that was asked, in what OAuth discovery answers.
    pub(crate) oidc_base: Option<String>,
}

impl Default for EmulatorBuilder {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            expiring_tokens: Vec::new(),
            faults: FaultPlan::default(),
            user_name: "someone@example.com".to_owned(),
            http_port: 0,
            https_port: 0,
            default_script: Script::default(),
            first_run_id: 514_594_995_218_126,
            bad_targets: BTreeSet::new(),
            read_only_home: false,
            writable_folders: Vec::new(),
            exec: None,
            warehouses: Vec::new(),
            tls: None,
            minting: Minting::default(),
            oidc_base: None,
        }
    }
}

impl EmulatorBuilder {
    /// One more bearer token that the workspace knows. Without any it is [`DEFAULT_TOKEN`].
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.tokens.push(token.into().into());
        self
    }

    /// One more bearer token, which lives so long from the start on. The workspace refuses it from 30 s before its end
    /// (DA §4.5).
    pub fn expiring_token(mut self, token: impl Into<String>, lifetime: Duration) -> Self {
        self.expiring_tokens.push((token.into().into(), lifetime));
        self
    }

    /// What goes wrong from the start on; [`Emulator::set_faults`] and [`Emulator::inject`] say so later.
    pub fn faults(mut self, plan: FaultPlan) -> Self {
        self.faults = plan;
        self
    }

    /// A service principal that may ask for tokens, at the workspace and at the stand-in for Azure.
    pub fn service_principal(
        mut self,
        client_id: impl Into<String>,
        secret: impl Into<String>,
    ) -> Self {
        self.minting.principals.insert(client_id.into(), secret.into().into());
        self
    }

    /// Takes tokens of others in exchange: the JWK set of their issuer, in JSON, and the audience that they must name.
    pub fn trust_issuer(mut self, jwks: impl Into<String>, audience: Option<String>) -> Self {
        self.minting.trusted = Some((jwks.into(), audience));
        self
    }

    /// How long minted tokens last; an hour unless set.
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.minting.lifetime = lifetime;
        self
    }

    /// Lets OAuth discovery name endpoints below another address, as a hostile workspace might.
    pub fn oidc_base(mut self, base: impl Into<String>) -> Self {
        self.oidc_base = Some(base.into());
        self
    }

    /// Who the tokens belong to: `creator_user_name` of runs and `userName` of `scim/v2/Me`.
    pub fn user_name(mut self, user_name: impl Into<String>) -> Self {
        self.user_name = user_name.into();
        self
    }

    /// Lets nobody write workspace files, not even in the user's own home.
    pub fn read_only_home(mut self) -> Self {
        self.read_only_home = true;
        self
    }

    /// Lets the user write to one more folder of the workspace, such as `/Shared`, beside the own home. It is there from
    /// the start.
    pub fn writable_folder(mut self, path: impl Into<String>) -> Self {
        self.writable_folders.push(path.into());
        self
    }

    /// One more SQL warehouse that takes statements.
    pub fn warehouse(mut self, id: impl Into<String>) -> Self {
        self.warehouses.push(id.into());
        self
    }

    /// Executes runs really, but for those whose name has a script of its own.
    ///
    /// A run of one `spark_python_task` whose file is in the workspace becomes a process of this machine once it is
    /// RUNNING, stays RUNNING as long as that takes, and ends as that ends; the steps around are those of the default
    /// script. Any other run fails when it is RUNNING, and says why. See [`ExecConfig`].
    pub fn exec(mut self, config: ExecConfig) -> Self {
        self.exec = Some(config);
        self
    }

    /// The port for plain HTTP; 0, the default, takes a free one.
    pub fn http_port(mut self, port: u16) -> Self {
        self.http_port = port;
        self
    }

    /// The port for HTTPS; 0, the default, takes a free one.
    pub fn https_port(mut self, port: u16) -> Self {
        self.https_port = port;
        self
    }

    /// Serves HTTPS with the certificates of another emulator, so that one authority is enough to trust both.
    pub fn same_certificates(mut self, other: &Emulator) -> Self {
        self.tls = Some(other.tls());
        self
    }

    /// What runs do whose name has no script of its own.
    pub fn default_script(mut self, script: Script) -> Self {
        self.default_script = script;
        self
    }

    /// The id of the first run, at most 2⁶². Task runs and later runs follow from it, so ids are the same in every
    /// execution.
    pub fn first_run_id(mut self, run_id: i64) -> Self {
        self.first_run_id = run_id.min(1 << 62);
        self
    }

    /// Answers every call of this version as a gateway that does not know it: 404 `Bad Target` (DA §10.3).
    pub fn bad_target(mut self, version: ApiVersion) -> Self {
        self.bad_targets.insert(version);
        self
    }

    /// Makes the certificate and listens on both ports of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// A port that is taken, or a certificate that cannot be made.
    pub async fn start(mut self) -> Result<Emulator, StartError> {
        if self.tokens.is_empty() && self.expiring_tokens.is_empty() {
            self.tokens.push(DEFAULT_TOKEN.into());
        }
        Emulator::start(self).await
    }
}

/// Why an emulator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener could not be opened.
    #[error(
        "cannot listen for {scheme} on 127.0.0.1:{port}; name another port, or 0 for a free one"
    )]
    Listen {
        /// `HTTP` or `HTTPS`.
        scheme: &'static str,
        /// The port asked for.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// The throw-away certificate could not be made.
    #[error("cannot make the throw-away certificate")]
    Certificate(#[source] rcgen::Error),
    /// TLS could not be set up with the certificate.
    #[error("cannot set up TLS with the throw-away certificate")]
    Tls(#[source] rustls::Error),
}
