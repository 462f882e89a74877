//! Converts the result of a task to the literals of its declared outputs. Pure.

use connector_core::literal::{self, OutputsError, ValueType};
use flyteidl2::task::Outputs;
use serde_json::{Map, Value};

use super::{
    DeclaredOutputs,
    task_result::{Column, TaskResult},
};

/// Converts the result of a task to the declared outputs; without a result, every output must be optional.
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
    result: Option<&TaskResult>,
) -> Result<Outputs, String> {
    let outputs = match result {
        None => literal::outputs_from_json(declared, &Map::new()),
        Some(TaskResult::Text(text)) => literal::outputs_from_text(declared, text),
        Some(TaskResult::Row { columns, object }) => {
            let literals = declared.iter().map(|(name, declared_type)| {
                let literal = if takes_whole_result(declared_type) {
                    literal::from_json(declared_type, &Value::Object(object.clone()))
                } else {
                    match column_value(columns, name, declared.len()) {
                        Some(text) => literal::from_text(declared_type, text),
                        None if declared_type.is_optional() => {
                            literal::from_json(declared_type, &Value::Null)
                        }
                        None => {
                            return Err(format!(
                                "the SQL result has no value for the output `{name}`"
                            ));
                        }
                    }
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

/// True for a JSON object, which is not the value of a column.
fn takes_whole_result(declared: &ValueType) -> bool {
    match declared {
        ValueType::Struct => true,
        ValueType::Optional(inner) => takes_whole_result(inner),
        _ => false,
    }
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
        outputs.iter().map(|(name, kind)| ((*name).to_owned(), kind.clone())).collect()
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
        let object = Map::from_iter([("rows".to_owned(), Value::from(1))]);
        TaskResult::Row { columns: columns.iter().map(column).collect(), object }
    }

    #[test]
    fn outputs_take_the_column_of_their_name_else_of_their_index() {
        let row = row(&[("sum(n)", Some("385")), ("o0", Some("by name")), ("c", None)]);
        let primitives = |wanted: &[(&str, ValueType)]| {
            let outputs = to_outputs(&declared(wanted), Some(&row))?;
            let value = |(_, value): (String, Option<scalar::Value>)| match value {
                Some(scalar::Value::Primitive(primitive)) => primitive.value,
                _ => None,
            };
            Ok::<_, String>(scalars(&outputs).into_iter().filter_map(value).collect::<Vec<_>>())
        };
        let text = |text: &str| primitive::Value::StringValue(text.to_owned());
        let (s, i) = (ValueType::String, ValueType::Integer);
        assert_eq!(primitives(&[("total", i.clone())]), Ok(vec![primitive::Value::Integer(385)]));
        assert_eq!(
            primitives(&[("o0", s.clone()), ("sum(n)", s.clone())]),
            Ok(vec![text("by name"), text("385")])
        );
        assert_eq!(primitives(&[("o1", s.clone())]), Ok(vec![text("by name")]));
        for (wanted, name) in
            [("c", "`c`"), ("o2", "`o2`"), ("o3", "`o3`"), ("o99999999999999999999", "`o9")]
        {
            let wanted = [(wanted, s.clone()), ("o1", s.clone())];
            assert!(primitives(&wanted).unwrap_err().contains(name), "{wanted:?}");
        }
        assert!(primitives(&[("o1", i)]).unwrap_err().contains("the wrong type"));
    }

    #[test]
    fn json_object_output_takes_the_whole_sql_result() {
        let outputs =
            to_outputs(&declared(&[("o0", ValueType::Struct)]), Some(&row(&[("n", Some("1"))])))
                .unwrap();
        let Some(scalar::Value::Generic(object)) = scalars(&outputs).remove(0).1 else {
            panic!("not an object")
        };
        assert!(object.fields.contains_key("rows"));
    }

    #[test]
    fn missing_values_of_optional_outputs_are_none() {
        let optional = || ValueType::Optional(Box::new(ValueType::Integer));
        let is_none = |outputs: &Outputs| match scalars(outputs).remove(0).1 {
            Some(scalar::Value::Union(union)) => {
                let value = union.value.and_then(|value| value.value);
                matches!(value, Some(literal::Value::Scalar(scalar))
                    if matches!(scalar.value, Some(scalar::Value::NoneType(_))))
            }
            other => panic!("{other:?}"),
        };
        let declared = declared(&[("c", optional())]);
        assert!(is_none(&to_outputs(&declared, None).unwrap()));
        assert!(is_none(&to_outputs(&declared, Some(&row(&[("c", None)]))).unwrap()));
        assert!(!is_none(&to_outputs(&declared, Some(&row(&[("c", Some("7"))]))).unwrap()));
    }
}
