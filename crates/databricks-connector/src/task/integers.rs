//! Integers that a user wrote. A `Struct` holds doubles, so an integer of 2^53 or more may have
//! been rounded, and may then be the id of another job. Pure.

use connector_core::Error;
use serde_json::{Map, Value};

/// The smallest integer that a double may have rounded.
const FIRST_INEXACT: u64 = 1 << 53;

/// Rejects integers that a double may have rounded.
///
/// # Errors
///
/// `InvalidTask` that names the first one.
pub(crate) fn reject_inexact(conf: &Map<String, Value>) -> Result<(), Error> {
    conf.iter().try_for_each(|(key, value)| reject(value, key))
}

fn reject(value: &Value, path: &str) -> Result<(), Error> {
    match value {
        Value::Object(fields) => {
            fields.iter().try_for_each(|(key, value)| reject(value, &format!("{path}.{key}")))
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, value)| reject(value, &format!("{path}[{index}]"))),
        Value::Number(number)
            if number.as_i64().is_some_and(|number| number.unsigned_abs() >= FIRST_INEXACT) =>
        {
            Err(Error::invalid_task(format!(
                "`{path}` has too many digits for a number: the last ones are lost in transit"
            ))
            .with_hint(format!("write `{path}` as text, in quotation marks")))
        }
        _ => Ok(()),
    }
}

/// Returns the id of a job as a number, from a number or text.
///
/// # Errors
///
/// `InvalidTask` for anything that is not an id.
pub(crate) fn job_id(value: &Value) -> Result<Value, Error> {
    let number = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse::<u64>().ok(),
        _ => None,
    };
    number.filter(|id| (1..=i64::MAX as u64).contains(id)).map(Value::from).ok_or_else(|| {
        Error::invalid_task("`job_id` is not the id of a job")
            .with_hint("write it as a whole number, or as text when it has more than 15 digits")
    })
}

/// Converts a job id in a `run_job_task` from text to a number, which the API requires. Also in the task that a
/// `for_each_task` repeats.
///
/// # Errors
///
/// `InvalidTask` for text that is not an id.
pub(crate) fn write_job_ids(task: &mut Map<String, Value>) -> Result<(), Error> {
    if let Some(id) = task.get_mut("run_job_task").and_then(|job| job.get_mut("job_id"))
        && id.is_string()
    {
        *id = job_id(id)?;
    }
    let repeated = task.get_mut("for_each_task").and_then(|repeated| repeated.get_mut("task"));
    match repeated.and_then(Value::as_object_mut) {
        Some(repeated) => write_job_ids(repeated),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn inexact_integer_is_rejected_by_its_path() {
        for (conf, place) in [
            (json!({"job_id": 21_840_679_011_320_555_i64}), Some("`job_id`")),
            (
                json!({"tasks": [{"run_job_task": {"job_id": 1_i64 << 53}}]}),
                Some("`tasks[0].run_job_task.job_id`"),
            ),
            (json!({"a": {"b": -(1_i64 << 53)}}), Some("`a.b`")),
            (
                json!({"job_id": (1_i64 << 53) - 1, "x": 1e300, "y": 0.5, "z": "21840679011320555"}),
                None,
            ),
        ] {
            match (reject_inexact(&map(&conf)), place) {
                (Ok(()), None) => {}
                (Err(error), Some(place)) => assert!(error.to_string().contains(place), "{error}"),
                (outcome, _) => panic!("{conf}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn job_id_is_positive_number_or_its_text() {
        assert_eq!(job_id(&json!(7)).unwrap(), json!(7));
        assert_eq!(
            job_id(&json!(" 21840679011320555 ")).unwrap(),
            json!(21_840_679_011_320_555_i64)
        );
        for wrong in
            [json!(0), json!(-7), json!("x"), json!("9223372036854775808"), json!(1.5), json!([])]
        {
            assert!(job_id(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn job_ids_of_run_job_tasks_become_numbers() {
        for (mut task, path) in [
            (json!({"run_job_task": {"job_id": "7"}}), "/run_job_task/job_id"),
            (
                json!({"for_each_task": {"task": {"run_job_task": {"job_id": "7"}}}}),
                "/for_each_task/task/run_job_task/job_id",
            ),
        ] {
            write_job_ids(task.as_object_mut().unwrap()).unwrap();
            assert_eq!(task.pointer(path), Some(&json!(7)));
        }
        let other = json!({"notebook_task": {"base_parameters": {"job_id": "x"}}});
        let mut task = map(&other);
        write_job_ids(&mut task).unwrap();
        assert_eq!(Value::Object(task), other);
    }
}
