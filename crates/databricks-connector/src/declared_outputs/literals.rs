//! Converts the result of a task to the literals of its declared outputs. Pure.

use connector_core::literal::{self, OutputsError, ValueType};
use flyteidl2::task::Outputs;
use serde_json::Value;

use super::{
    DeclaredOutputs,
    task_result::{Column, TaskResult},
};

/// Converts the result of a task to the declared outputs.
///
/// Text is the value of a single output, or a JSON object with a value per name if there are several. From a row, each
/// output takes the column of its name, else of its index: Flyte names unnamed outputs `o0`, `o1` and so on. An output
/// that is a JSON object takes the whole result.
///
/// # Errors
///
/// The output that cannot be filled, and the reason.
pub(super) fn to_outputs(
    declared: &DeclaredOutputs,
    result: &TaskResult,
) -> Result<Outputs, String> {
    let outputs = match result {
        TaskResult::Text(text) => literal::outputs_from_text(declared, text),
        TaskResult::Row { columns, object } => {
            let literals = declared.iter().map(|(name, declared_type)| {
                let literal = if *declared_type == ValueType::Struct {
                    literal::from_json(*declared_type, &Value::Object(object.clone()))
                } else {
                    let text = column_value(columns, name, declared.len()).ok_or_else(|| {
                        format!("the SQL result has no value for the output `{name}`")
                    })?;
                    literal::from_text(*declared_type, text)
                };
                let literal =
                    literal.ok_or_else(|| OutputsError::WrongType(name.clone()).to_string())?;
                Ok((name.clone(), literal))
            });
            literal::outputs(literals.collect::<Result<Vec<_>, String>>()?)
        }
    };
    outputs.map_err(|error| error.to_string())
}

/// Returns the value of the column of this name, else of the index in the name. Returns `None` for null.
fn column_value<'a>(columns: &'a [Column], name: &str, declared: usize) -> Option<&'a str> {
    let index = || match name.strip_prefix('o').map(str::parse) {
        Some(Ok(index)) => Some(index),
        _ if declared == 1 => Some(0),
        _ => None,
    };
    let column = columns.iter().find(|column| column.name == name);
    column.or_else(|| columns.get(index()?))?.value.as_deref()
}

#[cfg(test)]
mod tests {
    use flyteidl2::core::{literal, primitive, scalar};

    use super::*;

    fn declared(outputs: &[(&str, ValueType)]) -> DeclaredOutputs {
        outputs.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()
    }

    fn scalars(outputs: &Outputs) -> Vec<(String, Option<scalar::Value>)> {
        outputs
            .literals
            .iter()
            .map(|literal| {
                let value = literal.value.clone().and_then(|literal| literal.value);
                let Some(literal::Value::Scalar(scalar)) = value else { panic!("not a scalar") };
                (literal.name.clone(), scalar.value)
            })
            .collect()
    }

    fn row(columns: &[(&str, Option<&str>)]) -> TaskResult {
        let column = |(name, value): &(&str, Option<&str>)| Column {
            name: (*name).to_owned(),
            value: value.map(str::to_owned),
        };
        let object = serde_json::Map::from_iter([("rows".to_owned(), Value::from(1))]);
        TaskResult::Row { columns: columns.iter().map(column).collect(), object }
    }

    #[test]
    fn outputs_take_the_column_of_their_name_else_of_their_index() {
        let row = row(&[("sum(n)", Some("385")), ("o0", Some("by name")), ("c", None)]);
        let primitives = |wanted: &[(&str, ValueType)]| {
            let outputs = to_outputs(&declared(wanted), &row)?;
            let value = |(_, value): (String, Option<scalar::Value>)| match value {
                Some(scalar::Value::Primitive(primitive)) => primitive.value,
                _ => None,
            };
            Ok::<_, String>(scalars(&outputs).into_iter().filter_map(value).collect::<Vec<_>>())
        };
        let text = |text: &str| primitive::Value::StringValue(text.to_owned());
        let (s, i) = (ValueType::String, ValueType::Integer);
        assert_eq!(primitives(&[("total", i)]), Ok(vec![primitive::Value::Integer(385)]));
        assert_eq!(primitives(&[("o0", s), ("sum(n)", s)]), Ok(vec![text("by name"), text("385")]));
        assert_eq!(primitives(&[("o1", s)]), Ok(vec![text("by name")]));
        for (wanted, name) in
            [("c", "`c`"), ("o2", "`o2`"), ("o3", "`o3`"), ("o99999999999999999999", "`o9")]
        {
            let wanted = [(wanted, s), ("o1", s)];
            assert!(primitives(&wanted).unwrap_err().contains(name), "{wanted:?}");
        }
        assert!(primitives(&[("o1", i)]).unwrap_err().contains("the wrong type"));
    }

    #[test]
    fn json_object_output_takes_the_whole_sql_result() {
        let outputs =
            to_outputs(&declared(&[("o0", ValueType::Struct)]), &row(&[("n", Some("1"))])).unwrap();
        let Some(scalar::Value::Generic(object)) = scalars(&outputs).remove(0).1 else {
            panic!("not an object")
        };
        assert!(object.fields.contains_key("rows"));
    }
}
