//! Estimates the memory of a protobuf message before it is decoded.
//!
//! An empty list element takes two bytes encoded and 456 bytes as a decoded Flyte literal. A list of a million numbers is
//! 10 MB encoded and 500 MB decoded, so a limit on encoded bytes alone is not enough.

/// Estimated overhead of a length-delimited field. A literal with a number consists of three nested ones, an empty literal
/// of one: the estimate is accurate for the former and a third of the latter.
const FIELD_BYTES: u64 = 160;

/// The decoder's recursion limit.
const MAX_DEPTH: u32 = 100;

/// Estimates the decoded size of a message, in bytes. Needs no schema: any length-delimited field that parses as a message
/// counts as one. Linear in the length of the message.
pub(super) fn estimate(message: &[u8]) -> u64 {
    let bytes = u64::try_from(message.len()).unwrap_or(u64::MAX);
    bytes.saturating_add(FIELD_BYTES.saturating_mul(count_fields(message, MAX_DEPTH)))
}

/// Counts the length-delimited fields before the first invalid byte. A decoder has allocated them before it fails.
fn count_fields(message: &[u8], depth: u32) -> u64 {
    let mut count = 0;
    let mut rest = message;
    while let Some((tag, after)) = varint(rest) {
        let skipped = match tag & 7 {
            0 => varint(after).map(|(_, after)| after),
            1 => after.get(8..),
            2 => varint(after).and_then(|(length, after)| {
                count += 1;
                let (inside, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
                if depth > 0 {
                    count += count_fields(inside, depth - 1);
                }
                Some(after)
            }),
            // Groups: their fields follow.
            3 | 4 => Some(after),
            5 => after.get(4..),
            _ => None,
        };
        match skipped {
            Some(after) => rest = after,
            None => break,
        }
    }
    count
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(at + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use flyteidl2::core::{
        Literal, LiteralCollection, Primitive, Scalar, literal, primitive, scalar,
    };
    use prost::Message as _;

    use super::*;

    fn collection(element: &Literal, count: usize) -> Vec<u8> {
        LiteralCollection { literals: vec![element.clone(); count] }.encode_to_vec()
    }

    fn number() -> Literal {
        let primitive = Primitive { value: Some(primitive::Value::Integer(7)) };
        let scalar = Scalar { value: Some(scalar::Value::Primitive(primitive)) };
        Literal { value: Some(literal::Value::Scalar(Box::new(scalar))), ..Literal::default() }
    }

    #[test]
    fn estimate_of_a_list_is_close_to_its_memory() {
        let real = (size_of::<Literal>() * 10_000) as u64;
        let numbers = estimate(&collection(&number(), 10_000));
        assert!((real..2 * real).contains(&numbers), "{numbers} for {real}");
        // The least accurate case.
        let empty = estimate(&collection(&Literal::default(), 10_000));
        assert!((real / 3..real).contains(&empty), "{empty} for {real}");
    }

    #[test]
    fn fields_before_an_invalid_byte_count() {
        let valid = collection(&Literal::default(), 1000);
        let invalid = [valid.as_slice(), &[0xff; 20]].concat();
        assert!(estimate(&invalid) >= estimate(&valid));
    }

    #[test]
    fn estimate_of_text_is_less_than_four_times_its_length() {
        let text =
            "The quick brown fox jumps over the lazy dog, {\"and\": [1, 2, 3]}. ".repeat(1000);
        let message = LiteralCollection::default().encode_to_vec().into_iter().chain(text.bytes());
        let bytes: Vec<u8> = message.collect();
        assert!(estimate(&bytes) < 4 * bytes.len() as u64, "{}", estimate(&bytes));
    }

    #[test]
    fn arbitrary_bytes_do_not_inflate_the_estimate() {
        for bytes in
            [&[][..], &[0x0a], &[0x0a, 0xff], &[0x0a, 5, 1], &[0x80; 30], &[0x09, 1], &[0x07]]
        {
            assert!(estimate(bytes) <= bytes.len() as u64 + 2 * FIELD_BYTES, "{bytes:?}");
        }
        // Nested beyond the recursion limit.
        let mut deep = Vec::new();
        for _ in 0..300 {
            let mut outer = vec![0x0a];
            prost::encoding::encode_varint(deep.len() as u64, &mut outer);
            outer.extend(deep);
            deep = outer;
        }
        assert_eq!(count_fields(&deep, MAX_DEPTH), 101);
    }
}
