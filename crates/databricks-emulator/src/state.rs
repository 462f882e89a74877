//! The state behind both listeners.

use crate::api::request_log::RequestLog;
use crate::builder::EmulatorSettings;
use crate::faults::FaultInjector;
use crate::jobs::exec::Executor;
use crate::jobs::run_store::RunStore;
use crate::oauth::{TokenIssuer, TokenStatus};
use crate::sql::StatementStore;
use crate::storage::data_files::DataFiles;
use crate::storage::workspace_files::WorkspaceFiles;
use secrecy::ExposeSecret as _;
use std::sync::Arc;
use std::time::Duration;

/// The state of one emulator, shared by its listeners and its [`Emulator`](crate::Emulator) handle.
#[derive(Debug)]
pub(crate) struct AppState {
    pub(crate) settings: EmulatorSettings,
    pub(crate) runs: RunStore,
    pub(crate) request_log: RequestLog,
    pub(crate) faults: FaultInjector,
    pub(crate) workspace_files: Arc<WorkspaceFiles>,
    pub(crate) data_files: DataFiles,
    pub(crate) statements: StatementStore,
    pub(crate) token_issuer: TokenIssuer,
}

impl AppState {
    /// Creates the state of an emulator that has no runs yet. `https_base` is the base of external links.
    pub(crate) fn new(mut settings: EmulatorSettings, https_base: String) -> Self {
        let workspace_files = Arc::new(WorkspaceFiles::new(
            &settings.user_name,
            &settings.writable_folders,
            settings.read_only_home,
        ));
        let executor =
            settings.exec.clone().map(|config| Executor::new(config, Arc::clone(&workspace_files)));
        Self {
            runs: RunStore::new(settings.default_script.clone(), settings.first_run_id, executor),
            request_log: RequestLog::default(),
            faults: FaultInjector::new(std::mem::take(&mut settings.faults)),
            workspace_files,
            data_files: DataFiles::default(),
            statements: StatementStore::new(&settings.warehouses, https_base),
            token_issuer: TokenIssuer::new(settings.issued_tokens.clone()),
            settings,
        }
    }

    /// Returns the status of a bearer token at a time since the epoch.
    pub(crate) fn token_status(&self, token: &str, now: Duration) -> TokenStatus {
        if self.settings.tokens.iter().any(|known| known.expose_secret() == token) {
            return TokenStatus::Valid;
        }
        self.token_issuer.status(token, now)
    }
}
