//! The template variables of single inputs, such as `{{.inputs.day}}`: literals as text.

use flyteidl2::{
    core::{Literal, literal, primitive, scalar},
    task::Inputs,
};
use prost_types::Timestamp;

/// Returns a variable for each input that Flyte renders for containers, with the same text: numbers, strings, booleans,
/// times, the addresses of files and folders, and lists of these. Other literals have no text. Durations are left out
/// because their text differs between releases of Flyte.
pub(crate) fn variables(inputs: &Inputs) -> impl Iterator<Item = (String, String)> {
    inputs.literals.iter().filter_map(|input| {
        Some((format!("inputs.{}", input.name), text_of(input.value.as_ref()?)?))
    })
}

fn text_of(literal: &Literal) -> Option<String> {
    match literal.value.as_ref()? {
        literal::Value::Scalar(scalar) => match scalar.value.as_ref()? {
            scalar::Value::Primitive(primitive) => text_of_primitive(primitive.value.as_ref()?),
            scalar::Value::Blob(blob) => Some(blob.uri.clone()),
            scalar::Value::Schema(schema) => Some(schema.uri.clone()),
            _ => None,
        },
        literal::Value::Collection(collection) => {
            let texts: Option<Vec<String>> = collection.literals.iter().map(text_of).collect();
            Some(format!("[{}]", texts?.join(",")))
        }
        _ => None,
    }
}

fn text_of_primitive(primitive: &primitive::Value) -> Option<String> {
    match primitive {
        primitive::Value::Integer(number) => Some(number.to_string()),
        primitive::Value::FloatValue(number) => Some(text_of_float(*number)),
        primitive::Value::StringValue(text) => Some(text.clone()),
        primitive::Value::Boolean(flag) => Some(flag.to_string()),
        primitive::Value::Datetime(time) => Some(text_of_time(time)),
        primitive::Value::Duration(_) => None,
    }
}

/// Formats a float as Go does: the shortest digits that identify it, with an exponent of at least two digits when the
/// exponent is below -4 or above 20.
fn text_of_float(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..21).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => number.to_string(),
    }
}

/// Formats a time as RFC 3339 in UTC without trailing zeros.
fn text_of_time(time: &Timestamp) -> String {
    let text = time.to_string();
    match text.strip_suffix('Z') {
        Some(text) if text.contains('.') => {
            format!("{}Z", text.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use flyteidl2::{
        core::{Blob, LiteralCollection, Primitive, Scalar},
        task::NamedLiteral,
    };

    use super::*;

    fn scalar(value: scalar::Value) -> Literal {
        let scalar = Scalar { value: Some(value) };
        Literal { value: Some(literal::Value::Scalar(Box::new(scalar))), ..Literal::default() }
    }

    fn primitive(value: primitive::Value) -> Literal {
        scalar(scalar::Value::Primitive(Primitive { value: Some(value) }))
    }

    fn list(literals: Vec<Literal>) -> Literal {
        let value = literal::Value::Collection(LiteralCollection { literals });
        Literal { value: Some(value), ..Literal::default() }
    }

    fn named(name: &str, value: Literal) -> NamedLiteral {
        NamedLiteral { name: name.to_owned(), value: Some(value) }
    }

    #[test]
    fn literals_with_text_become_variables_and_others_are_left_out() {
        let file = scalar::Value::Blob(Blob { uri: "s3://b/x".to_owned(), ..Blob::default() });
        let duration = primitive::Value::Duration(prost_types::Duration::default());
        let number = |n| primitive(primitive::Value::Integer(n));
        let inputs = Inputs {
            literals: vec![
                named("n", number(-7)),
                named("Day", primitive(primitive::Value::StringValue("a b".to_owned()))),
                named("dry", primitive(primitive::Value::Boolean(true))),
                named("file", scalar(file)),
                named("list", list(vec![number(1), list(vec![number(2)])])),
                named("none", list(vec![])),
                named("wait", primitive(duration.clone())),
                named("waits", list(vec![number(1), primitive(duration)])),
                NamedLiteral { name: "nothing".to_owned(), value: None },
            ],
            ..Inputs::default()
        };
        let found: Vec<String> =
            variables(&inputs).map(|(name, text)| format!("{name}={text}")).collect();
        assert_eq!(
            found,
            [
                "inputs.n=-7",
                "inputs.Day=a b",
                "inputs.dry=true",
                "inputs.file=s3://b/x",
                "inputs.list=[1,[2]]",
                "inputs.none=[]",
            ]
        );
    }

    #[test]
    fn floats_are_formatted_as_in_go() {
        for (number, text) in [
            (0.25, "0.25"),
            (1.0, "1"),
            (-0.0, "-0"),
            (0.0001, "0.0001"),
            (0.000_012_5, "1.25e-05"),
            (123_456_789.0, "123456789"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-2.5e-100, "-2.5e-100"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(text_of_float(number), text);
        }
    }

    #[test]
    fn times_are_formatted_in_utc_without_trailing_zeros() {
        for (seconds, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (1_577_934_245, 500_000_000, "2020-01-02T03:04:05.5Z"),
            (1_577_934_240, 0, "2020-01-02T03:04:00Z"),
            (1_577_934_245, 123_456_000, "2020-01-02T03:04:05.123456Z"),
        ] {
            assert_eq!(text_of_time(&Timestamp { seconds, nanos }), text);
        }
    }
}
