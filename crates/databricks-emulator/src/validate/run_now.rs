//! The body of a run-now (DA §1.7).

use super::{object, text};
use crate::refusal::{Refusal, invalid};
use serde_json::{Map, Value};

/// The largest list or map of parameters, in bytes of JSON (DA §1.2).
const MAX_PARAMETER_BYTES: usize = 10_000;

/// What a run-now asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunNow {
    pub(crate) job_id: i64,
    pub(crate) idempotency_token: Option<String>,
}

/// Reads the body of a run-now, or says what is wrong with it.
pub(crate) fn run_now(bytes: &[u8]) -> Result<RunNow, Refusal> {
    let body: Map<String, Value> = object(bytes)?;
    let job_id = match body.get("job_id") {
        None | Some(Value::Null) => return Err(invalid("Missing required field: job_id.")),
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_i64(),
    };
    let job_id = job_id.ok_or_else(|| invalid("Field job_id must be a 64-bit integer."))?;
    let is_parameters = |key: &str| key.ends_with("_params") || key == "job_parameters";
    for (key, value) in body.iter().filter(|(key, _)| is_parameters(key)) {
        let size = value.to_string().len();
        if size > MAX_PARAMETER_BYTES {
            return Err(invalid(format!(
                "The parameters in {key} have {size} bytes; at most {MAX_PARAMETER_BYTES} are allowed."
            )));
        }
    }
    let token = text(&body, "idempotency_token").filter(|token| !token.is_empty());
    Ok(RunNow { job_id, idempotency_token: token.map(ToOwned::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_and_bounded_parameters_are_asked_for() {
        let read = |body: &str| run_now(body.as_bytes());
        assert_eq!(read(r#"{"job_id": "7"}"#), Ok(RunNow { job_id: 7, idempotency_token: None }));
        for body in [r"{}", r#"{"job_id": 1.5}"#, r#"{"job_id": "x"}"#] {
            assert!(read(body).is_err(), "{body}");
        }
        let long = "x".repeat(MAX_PARAMETER_BYTES);
        for parameters in [
            format!(r#""python_params": ["{long}"]"#),
            format!(r#""job_parameters": {{"k": "{long}"}}"#),
        ] {
            let refusal = read(&format!(r#"{{"job_id": 7, {parameters}}}"#)).unwrap_err();
            assert!(refusal.message.contains("at most 10000"), "{}", refusal.message);
        }
    }
}
