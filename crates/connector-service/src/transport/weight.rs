//! How much memory a message takes once it is decoded, found out before it is.
//!
//! On the wire an empty element of a list takes two bytes; decoded, a Flyte literal takes 456. A list of a million
//! numbers is 10 MB here and half a gigabyte there, so counting bytes alone would bound nothing.

/// What each length-delimited field is taken to weigh beside its bytes. A literal with a number in it is three such
/// fields, nested; an empty one is one. The estimate is thus right for the former and a third of the latter.
const FIELD: u64 = 160;

/// As deep as the decoder goes.
const DEEPEST: u32 = 100;

/// The bytes that a protobuf message takes in memory, roughly. No schema is needed: whatever can be read as a message is
/// taken for one. Each byte is looked at once.
pub(super) fn decoded(message: &[u8]) -> u64 {
    let bytes = u64::try_from(message.len()).unwrap_or(u64::MAX);
    bytes.saturating_add(FIELD.saturating_mul(fields(message, DEEPEST)))
}

/// How many length-delimited fields come before the first byte that cannot be read. What comes before a fault counts: a
/// decoder too has made room for it when it meets the fault.
fn fields(message: &[u8], depth: u32) -> u64 {
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
                    count += fields(inside, depth - 1);
                }
                Some(after)
            }),
            // Groups: what is inside follows.
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
    fn a_list_weighs_what_its_elements_take_in_memory() {
        let real = (size_of::<Literal>() * 10_000) as u64;
        let numbers = decoded(&collection(&number(), 10_000));
        assert!((real..2 * real).contains(&numbers), "{numbers} for {real}");
        // The estimate that is furthest off.
        let empty = decoded(&collection(&Literal::default(), 10_000));
        assert!((real / 3..real).contains(&empty), "{empty} for {real}");
    }

    #[test]
    fn what_comes_before_a_fault_counts() {
        let whole = collection(&Literal::default(), 1000);
        let faulty = [whole.as_slice(), &[0xff; 20]].concat();
        assert!(decoded(&faulty) >= decoded(&whole));
    }

    #[test]
    fn text_weighs_a_few_times_its_bytes_at_most() {
        let text =
            "The quick brown fox jumps over the lazy dog, {\"and\": [1, 2, 3]}. ".repeat(1000);
        let message = LiteralCollection::default().encode_to_vec().into_iter().chain(text.bytes());
        let bytes: Vec<u8> = message.collect();
        assert!(decoded(&bytes) < 4 * bytes.len() as u64, "{}", decoded(&bytes));
    }

    #[test]
    fn garbage_is_read_to_its_end_and_no_further() {
        for bytes in
            [&[][..], &[0x0a], &[0x0a, 0xff], &[0x0a, 5, 1], &[0x80; 30], &[0x09, 1], &[0x07]]
        {
            assert!(decoded(bytes) <= bytes.len() as u64 + 2 * FIELD, "{bytes:?}");
        }
        // As deep as it likes.
        let mut deep = Vec::new();
        for _ in 0..300 {
            let mut outer = vec![0x0a];
            prost::encoding::encode_varint(deep.len() as u64, &mut outer);
            outer.extend(deep);
            deep = outer;
        }
        assert_eq!(fields(&deep, DEEPEST), 101);
    }
}
