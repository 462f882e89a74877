//! Converts between protobuf `Struct` and JSON.
//!
//! A `Struct` stores every number as a double. Integral numbers become JSON integers, because services reject `2.0` where
//! they expect `2`.

use std::collections::BTreeMap;

use prost_types::{ListValue, Struct, Value as Wire, value::Kind};
use serde_json::{Map, Number, Value};

/// A number in a `Struct` that JSON cannot represent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} is not a finite number")]
pub struct NotFinite {
    path: String,
}

/// Converts a `Struct` to a JSON object. A value without a kind becomes null.
///
/// # Errors
///
/// [`NotFinite`], with the path of the number, for NaN and the infinities.
pub fn json_from_struct(wire: &Struct) -> Result<Map<String, Value>, NotFinite> {
    object(&wire.fields, "$")
}

fn object(fields: &BTreeMap<String, Wire>, path: &str) -> Result<Map<String, Value>, NotFinite> {
    fields
        .iter()
        .map(|(key, wire)| Ok((key.clone(), json(wire, &format!("{path}.{key}"))?)))
        .collect()
}

fn json(wire: &Wire, path: &str) -> Result<Value, NotFinite> {
    Ok(match &wire.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(*flag),
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        Some(Kind::NumberValue(number)) => {
            Value::Number(json_number(*number).ok_or_else(|| NotFinite { path: path.to_owned() })?)
        }
        Some(Kind::StructValue(inner)) => Value::Object(object(&inner.fields, path)?),
        Some(Kind::ListValue(list)) => Value::Array(
            list.values
                .iter()
                .enumerate()
                .map(|(i, item)| json(item, &format!("{path}[{i}]")))
                .collect::<Result<_, _>>()?,
        ),
    })
}

/// Returns an integer if the double is integral and fits 64 bits, otherwise the double. `None` if it is not finite.
fn json_number(number: f64) -> Option<Number> {
    // Both bounds are exact doubles. i64::MAX is not, so the upper bound is exclusive.
    const LOW: f64 = -9_223_372_036_854_775_808.0;
    const HIGH: f64 = 9_223_372_036_854_775_808.0;
    if number.fract() == 0.0 && (LOW..HIGH).contains(&number) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "integral and in range, as checked above"
        )]
        return Some(Number::from(number as i64));
    }
    Number::from_f64(number)
}

/// Converts a JSON object to a `Struct`. Integers beyond 2^53 lose precision.
pub fn struct_from_json(object: &Map<String, Value>) -> Struct {
    Struct { fields: object.iter().map(|(key, value)| (key.clone(), wire(value))).collect() }
}

fn wire(value: &Value) -> Wire {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.iter().map(wire).collect() })
        }
        Value::Object(inner) => Kind::StructValue(struct_from_json(inner)),
    };
    Wire { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn number(value: f64) -> Result<Value, NotFinite> {
        json(&Wire { kind: Some(Kind::NumberValue(value)) }, "$.n")
    }

    #[test]
    fn integral_numbers_become_integers() {
        for (double, text) in [
            (2.0, "2"),
            (-0.0, "0"),
            (3600.0, "3600"),
            (-1.0, "-1"),
            (0.5, "0.5"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (1e18, "1000000000000000000"),
        ] {
            assert_eq!(number(double).unwrap().to_string(), text);
        }
    }

    #[test]
    fn integral_numbers_beyond_64_bits_stay_doubles() {
        assert_eq!(number(1e300).unwrap(), json!(1e300));
        assert_eq!(
            number(9_223_372_036_854_775_808.0).unwrap(),
            json!(9_223_372_036_854_775_808.0_f64)
        );
        assert_eq!(number(-9_223_372_036_854_775_808.0).unwrap(), json!(i64::MIN));
    }

    #[test]
    fn error_for_non_finite_number_names_its_path() {
        assert_eq!(number(f64::NAN).unwrap_err().to_string(), "$.n is not a finite number");
        assert!(number(f64::INFINITY).is_err());
    }

    proptest::proptest! {
        #[test]
        fn integers_within_53_bits_survive_round_trip(n in -(1_i64 << 53)..=(1_i64 << 53)) {
            let object = json!({"a": {"b": [n, "x", true, null]}});
            let converted = struct_from_json(object.as_object().unwrap());
            proptest::prop_assert_eq!(Value::Object(json_from_struct(&converted).unwrap()), object);
        }
    }
}
