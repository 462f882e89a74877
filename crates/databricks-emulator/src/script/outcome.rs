//! How a run or a task ends, and how much of it the answers show.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a run or a task ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// It succeeded.
    #[default]
    Success,
    /// The user's code failed. The run itself then says `INTERNAL_ERROR` with result FAILED (DA §2.1 trap 1), and only
    /// `runs/get-output` of the task tells why.
    Failed {
        /// The one line that says what failed.
        error: String,
        /// The stack; empty: absent.
        #[serde(default)]
        error_trace: String,
    },
    /// It ran longer than its timeout: result TIMEDOUT, code CANCELED, which is a cancellation by the platform
    /// (DA §2.3, §10.3).
    Timedout,
    /// A user cancelled it, as in the web page (DA §3.2).
    Canceled,
    /// The platform failed: `INTERNAL_ERROR` without a result.
    InternalError {
        /// What the platform says.
        message: String,
    },
    /// It never ran: SKIPPED, which has no result (DA §2.1, §2.2 trap 5).
    Skipped,
    /// Any terminal state, word for word: unknown names and missing fields included.
    Termination(Termination),
}

/// A terminal state word for word. A field that is absent is absent in the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Termination {
    /// `state.life_cycle_state`.
    pub life_cycle_state: Option<String>,
    /// `state.result_state`.
    pub result_state: Option<String>,
    /// `state.user_cancelled_or_timedout`.
    pub user_cancelled_or_timedout: bool,
    /// `status.state`; absent: TERMINATED, the one terminal state that it has.
    pub status_state: Option<String>,
    /// `status.termination_details.code`.
    pub code: Option<String>,
    /// `status.termination_details.type`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `state.state_message` and `status.termination_details.message`.
    pub message: Option<String>,
    /// The `error` that `runs/get-output` tells.
    pub error: Option<String>,
}

/// Why a cluster ended, as `clusters/get` tells it (DA §1.10).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterTermination {
    /// Such as `DRIVER_OUT_OF_MEMORY` or `SPOT_INSTANCE_TERMINATION`.
    pub code: String,
    /// `CLIENT_ERROR`, `CLOUD_FAILURE`, `SERVICE_FAULT` or `SUCCESS`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Further facts by name.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
}

/// Which descriptions of its state an answer about a run carries. Both is what the service sends today.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateForm {
    /// The legacy `state` and the current `status`.
    #[default]
    Both,
    /// Only the legacy `state`, as old rows have it.
    LegacyOnly,
    /// Only the current `status`.
    StatusOnly,
}
