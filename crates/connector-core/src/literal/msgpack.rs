//! Encodes JSON as `MessagePack`, the form in which Flyte's SDK writes objects. Pure.

use serde_json::{Map, Value};

use super::json_text;

/// Encodes a value. Each length and number has its longest form, which every decoder accepts.
pub(super) fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(value, &mut bytes);
    bytes
}

fn write(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Null => bytes.push(0xc0),
        Value::Bool(flag) => bytes.push(0xc2 + u8::from(*flag)),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => write_fixed(0xd3, number.to_be_bytes(), bytes),
            (None, Some(number)) => write_fixed(0xcf, number.to_be_bytes(), bytes),
            (None, None) => write_float(number.as_f64().unwrap_or(f64::NAN), bytes),
        },
        Value::String(text) => match json_text::non_finite(text) {
            Some(number) => write_float(number, bytes),
            None => write_text(text, bytes),
        },
        Value::Array(values) => {
            write_length(0xdd, values.len(), bytes);
            for value in values {
                write(value, bytes);
            }
        }
        Value::Object(values) => write_object(values, bytes),
    }
}

fn write_object(values: &Map<String, Value>, bytes: &mut Vec<u8>) {
    write_length(0xdf, values.len(), bytes);
    for (key, value) in values {
        write_text(key, bytes);
        write(value, bytes);
    }
}

fn write_text(text: &str, bytes: &mut Vec<u8>) {
    write_length(0xdb, text.len(), bytes);
    bytes.extend_from_slice(text.as_bytes());
}

fn write_float(number: f64, bytes: &mut Vec<u8>) {
    write_fixed(0xcb, number.to_be_bytes(), bytes);
}

fn write_fixed(marker: u8, number: [u8; 8], bytes: &mut Vec<u8>) {
    bytes.push(marker);
    bytes.extend_from_slice(&number);
}

/// Writes a length. Outputs are far shorter than its largest value.
fn write_length(marker: u8, length: usize, bytes: &mut Vec<u8>) {
    bytes.push(marker);
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_have_the_bytes_of_the_specification() {
        for (value, bytes) in [
            (json!(null), vec![0xc0]),
            (json!(true), vec![0xc3]),
            (json!(9_007_199_254_740_993_i64), vec![0xd3, 0, 0x20, 0, 0, 0, 0, 0, 1]),
            (json!(u64::MAX), [vec![0xcf], vec![0xff; 8]].concat()),
            (json!(1.5), vec![0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]),
            (json!("\u{0}NaN"), [vec![0xcb], f64::NAN.to_be_bytes().to_vec()].concat()),
            (
                json!({"a": [false]}),
                vec![0xdf, 0, 0, 0, 1, 0xdb, 0, 0, 0, 1, b'a', 0xdd, 0, 0, 0, 1, 0xc2],
            ),
        ] {
            assert_eq!(encode(&value), bytes, "{value}");
        }
    }
}
