//! Outcomes of runs and tasks.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a run or a task ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// Success.
    #[default]
    Success,
    /// The user code failed.
    ///
    /// The run is then `INTERNAL_ERROR` with result FAILED (databricks-api.md#legacy-state). Only `runs/get-output` of the
    /// task returns the error.
    Failed {
        /// The error in one line.
        error: String,
        /// The stack trace. Empty: absent.
        #[serde(default)]
        error_trace: String,
    },
    /// The timeout expired: result TIMEDOUT, code CANCELED (databricks-api.md#termination-codes).
    Timedout,
    /// A user cancelled the run in the web UI (databricks-api.md#cancel).
    Canceled,
    /// The platform failed: `INTERNAL_ERROR` without a result.
    InternalError {
        /// The message of the platform.
        message: String,
    },
    /// The run was SKIPPED and has no result (databricks-api.md#legacy-state).
    Skipped,
    /// Any terminal state, verbatim, also with unknown names and missing fields.
    Termination(Termination),
}

/// The raw fields of a terminal state. An absent field is absent in the response.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Termination {
    /// `state.life_cycle_state`.
    pub life_cycle_state: Option<String>,
    /// `state.result_state`.
    pub result_state: Option<String>,
    /// `state.user_cancelled_or_timedout`.
    pub user_cancelled_or_timedout: bool,
    /// `status.state`. The default is TERMINATED, its only terminal state.
    pub status_state: Option<String>,
    /// `status.termination_details.code`.
    pub code: Option<String>,
    /// `status.termination_details.type`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `state.state_message` and `status.termination_details.message`.
    pub message: Option<String>,
    /// `error` of `runs/get-output`.
    pub error: Option<String>,
}

/// The termination reason of a cluster in `clusters/get` (databricks-api.md#clusters).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterTermination {
    /// The code, such as `DRIVER_OUT_OF_MEMORY` or `SPOT_INSTANCE_TERMINATION`.
    pub code: String,
    /// The type: `CLIENT_ERROR`, `CLOUD_FAILURE`, `SERVICE_FAULT` or `SUCCESS`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Details by name.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
}

/// Which state objects responses contain. The service sends both today.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateForm {
    /// The legacy `state` and the current `status`.
    #[default]
    Both,
    /// Only the legacy `state`, as for old runs.
    LegacyOnly,
    /// Only the current `status`.
    StatusOnly,
}
