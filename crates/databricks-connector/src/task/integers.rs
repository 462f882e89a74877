//! Whole numbers that a user wrote. A `Struct` holds doubles, so that one of 2^53 or more has lost its last digits before
//! it gets here, and as the id of a job it may be that of another job. Nobody could tell, so it is refused. Pure.

use connector_core::Error;
use serde_json::{Map, Value};

/// The first number of which a double does not tell whether it was meant.
const FIRST_UNSURE: u64 = 1 << 53;

/// # Errors
///
/// `InvalidTask` that names the first number that may not be the one that was written.
pub(crate) fn refuse_inexact(conf: &Map<String, Value>) -> Result<(), Error> {
    conf.iter().try_for_each(|(key, value)| refuse(value, key))
}

fn refuse(value: &Value, path: &str) -> Result<(), Error> {
    match value {
        Value::Object(fields) => {
            fields.iter().try_for_each(|(key, value)| refuse(value, &format!("{path}.{key}")))
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, value)| refuse(value, &format!("{path}[{index}]"))),
        Value::Number(number)
            if number.as_i64().is_some_and(|number| number.unsigned_abs() >= FIRST_UNSURE) =>
        {
            Err(Error::invalid_task(format!(
                "`{path}` is a number of so many digits that the last ones are lost on the way here"
            ))
            .with_hint(format!("write `{path}` as text, in quotation marks")))
        }
        _ => Ok(()),
    }
}

/// The id of a job, from a number or from text.
///
/// # Errors
///
/// `InvalidTask` for what is no id.
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

/// Turns the ids of jobs that tasks start into numbers, as the API has them, where they are text.
///
/// # Errors
///
/// `InvalidTask` for text that is no id.
pub(crate) fn write_job_ids(run: &mut Map<String, Value>) -> Result<(), Error> {
    for task in run.get_mut("tasks").and_then(Value::as_array_mut).into_iter().flatten() {
        for path in ["/run_job_task/job_id", "/for_each_task/task/run_job_task/job_id"] {
            if let Some(id) = task.pointer_mut(path).filter(|id| id.is_string()) {
                *id = job_id(id)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_number_that_may_be_another_one_is_refused_by_its_place() {
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
            match (refuse_inexact(&map(&conf)), place) {
                (Ok(()), None) => {}
                (Err(error), Some(place)) => assert!(error.to_string().contains(place), "{error}"),
                (outcome, _) => panic!("{conf}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn an_id_is_a_positive_number_or_its_text() {
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
    fn ids_of_jobs_that_tasks_start_become_numbers() {
        let mut run = map(&json!({"tasks": [
            {"run_job_task": {"job_id": "21840679011320555"}},
            {"for_each_task": {"task": {"run_job_task": {"job_id": 7}}}},
            {"notebook_task": {"base_parameters": {"job_id": "x"}}},
        ]}));
        write_job_ids(&mut run).unwrap();
        assert_eq!(run["tasks"][0]["run_job_task"]["job_id"], json!(21_840_679_011_320_555_i64));
        assert_eq!(run["tasks"][1]["for_each_task"]["task"]["run_job_task"]["job_id"], json!(7));
    }
}
