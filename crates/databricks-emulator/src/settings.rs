//! The settings of an emulator, as collected by [`EmulatorBuilder`](crate::EmulatorBuilder).

use crate::api::endpoint::ApiVersion;
use crate::faults::FaultPlan;
use crate::jobs::exec::ExecConfig;
use crate::jobs::script::Script;
use crate::oauth::TokenSettings;
use secrecy::SecretString;
use std::collections::BTreeSet;

#[derive(Clone, Debug)]
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

impl Default for EmulatorSettings {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            issued_tokens: TokenSettings::default(),
            faults: FaultPlan::default(),
            user_name: "someone@example.com".to_owned(),
            http_port: 0,
            https_port: 0,
            default_script: Script::default(),
            first_run_id: 514_594_995_218_126,
            unsupported_versions: BTreeSet::new(),
            read_only_home: false,
            writable_folders: Vec::new(),
            exec: None,
            warehouses: Vec::new(),
            oidc_base: None,
        }
    }
}
