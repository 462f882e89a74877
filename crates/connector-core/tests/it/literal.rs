use std::collections::BTreeMap;

use connector_core::{
    flyteidl2::{
        core::{
            Binary, Blob, Literal, LiteralCollection, LiteralMap, LiteralType, Primitive, Scalar,
            SimpleType, TypeStructure, Union, UnionType, Variable, VariableEntry, VariableMap,
            Void, literal, literal_type, primitive, scalar,
        },
        task::Outputs,
    },
    literal::{
        MAX_OUTPUTS_BYTES, OutputsError, ValueType, declared, from_json, from_text,
        outputs_from_text, to_json, to_text,
    },
    prost_types::{Duration, Timestamp},
};
use proptest::{prelude::*, prop_assert_eq};
use serde_json::{Value, json};

fn of_scalar(value: scalar::Value) -> Literal {
    let scalar = Scalar { value: Some(value) };
    Literal { value: Some(literal::Value::Scalar(Box::new(scalar))), ..Literal::default() }
}

fn of_primitive(value: primitive::Value) -> Literal {
    of_scalar(scalar::Value::Primitive(Primitive { value: Some(value) }))
}

fn integer(number: i64) -> Literal {
    of_primitive(primitive::Value::Integer(number))
}

fn float(number: f64) -> Literal {
    of_primitive(primitive::Value::FloatValue(number))
}

fn text(text: &str) -> Literal {
    of_primitive(primitive::Value::StringValue(text.to_owned()))
}

fn boolean(flag: bool) -> Literal {
    of_primitive(primitive::Value::Boolean(flag))
}

fn time(seconds: i64, nanos: i32) -> Literal {
    of_primitive(primitive::Value::Datetime(Timestamp { seconds, nanos }))
}

fn duration() -> Literal {
    of_primitive(primitive::Value::Duration(Duration::default()))
}

fn file(uri: &str) -> Literal {
    of_scalar(scalar::Value::Blob(Blob { uri: uri.to_owned(), ..Blob::default() }))
}

fn list(literals: Vec<Literal>) -> Literal {
    let value = literal::Value::Collection(LiteralCollection { literals });
    Literal { value: Some(value), ..Literal::default() }
}

fn types(outputs: &[(&str, ValueType)]) -> BTreeMap<String, ValueType> {
    outputs.iter().map(|(name, declared)| ((*name).to_owned(), declared.clone())).collect()
}

fn json_of(outputs: &Outputs) -> Value {
    let json = |literal: &Literal| to_json(literal).unwrap();
    let entries = outputs.literals.iter();
    entries.map(|named| (named.name.clone(), json(named.value.as_ref().unwrap()))).collect()
}

#[test]
fn declared_types_are_read_from_the_interface() {
    let simple = |simple: SimpleType| Some(literal_type::Type::Simple(simple.into()));
    let mut variables = vec![VariableEntry { key: "untyped".to_owned(), value: None }];
    for (key, declared) in [
        ("text", simple(SimpleType::String)),
        ("number", simple(SimpleType::Float)),
        ("count", simple(SimpleType::Integer)),
        ("flag", simple(SimpleType::Boolean)),
        ("object", simple(SimpleType::Struct)),
        ("time", simple(SimpleType::Datetime)),
        ("list", Some(literal_type::Type::CollectionType(Box::default()))),
        ("future", Some(literal_type::Type::Simple(99))),
    ] {
        let declared = LiteralType { r#type: declared, ..LiteralType::default() };
        let value = Some(Variable { r#type: Some(declared), ..Variable::default() });
        variables.push(VariableEntry { key: key.to_owned(), value });
    }
    let expected = types(&[
        ("text", ValueType::String),
        ("number", ValueType::Float),
        ("count", ValueType::Integer),
        ("flag", ValueType::Boolean),
        ("object", ValueType::Struct),
        ("time", ValueType::Datetime),
        ("list", ValueType::Other),
        ("future", ValueType::Other),
        ("untyped", ValueType::Other),
    ]);
    assert_eq!(declared(&VariableMap { variables }), expected);
}

#[test]
fn unknown_type_in_stored_meta_is_read_as_other() {
    let stored: BTreeMap<String, ValueType> =
        serde_json::from_str(r#"{"a": "integer", "b": "hologram"}"#).unwrap();
    assert_eq!(stored, types(&[("a", ValueType::Integer), ("b", ValueType::Other)]));
}

#[test]
fn text_becomes_a_literal_of_the_declared_type() {
    for (declared, written, expected) in [
        (ValueType::String, " 7 ", Some(text(" 7 "))),
        (ValueType::Integer, " 7\n", Some(integer(7))),
        (ValueType::Integer, "9007199254740993", Some(integer(9_007_199_254_740_993))),
        (ValueType::Float, "7", Some(float(7.0))),
        (ValueType::Float, " 1.25e-05 ", Some(float(0.000_012_5))),
        (ValueType::Boolean, "True", Some(boolean(true))),
        (ValueType::Integer, "7.5", None),
        (ValueType::Integer, "x", None),
        (ValueType::Integer, "\"7\"", None),
        (ValueType::Integer, "+7", Some(integer(7))),
        (ValueType::Integer, "385.00", Some(integer(385))),
        (ValueType::Integer, "-9223372036854775808", Some(integer(i64::MIN))),
        (ValueType::Integer, "9223372036854775808", None),
        (ValueType::Float, "-Infinity", Some(float(f64::NEG_INFINITY))),
        (ValueType::Float, "inf", Some(float(f64::INFINITY))),
        (ValueType::Float, "1e999", None),
        (ValueType::Float, ".5", Some(float(0.5))),
        (ValueType::Datetime, " 2020-01-02 ", Some(time(1_577_923_200, 0))),
        (ValueType::Datetime, "2020-01-02T03:04:05.5", Some(time(1_577_934_245, 500_000_000))),
        (ValueType::Datetime, "2020-01-02T04:04:05+01:00", Some(time(1_577_934_245, 0))),
        (ValueType::Datetime, "2020-01-02 03:04:05", Some(time(1_577_934_245, 0))),
        (ValueType::Datetime, "yesterday", None),
        (list_of(ValueType::Integer), "[1, \"2\"]", Some(list(vec![integer(1), integer(2)]))),
        (list_of(ValueType::Integer), "[1, null]", None),
        (list_of(ValueType::Integer), "\"[1]\"", None),
        (ValueType::Boolean, "1", None),
        (ValueType::Struct, "[]", None),
        (ValueType::Other, "x", None),
    ] {
        assert_eq!(from_text(&declared, written), expected, "{declared:?} {written}");
    }
}

fn list_of(inner: ValueType) -> ValueType {
    ValueType::List(Box::new(inner))
}

fn optional(inner: ValueType) -> ValueType {
    ValueType::Optional(Box::new(inner))
}

#[test]
fn stored_type_is_read_back() {
    for declared in [
        ValueType::Datetime,
        list_of(optional(ValueType::String)),
        optional(ValueType::Map(Box::new(list_of(ValueType::Float)))),
    ] {
        let stored = serde_json::to_string(&declared).unwrap();
        assert_eq!(serde_json::from_str::<ValueType>(&stored).unwrap(), declared, "{stored}");
    }
    for unknown in
        ["list<hologram>", "list<integer", "", &format!("{}{}", "list<".repeat(50), ">".repeat(50))]
    {
        let stored = serde_json::to_string(unknown).unwrap();
        assert_eq!(serde_json::from_str::<ValueType>(&stored).unwrap(), ValueType::Other);
    }
}

#[test]
fn optional_type_has_the_variant_of_its_value() {
    let simple = |simple: SimpleType, tag: &str| LiteralType {
        r#type: Some(literal_type::Type::Simple(simple.into())),
        structure: Some(TypeStructure { tag: tag.to_owned(), ..TypeStructure::default() }),
        ..LiteralType::default()
    };
    let none = simple(SimpleType::None, "none");
    for (variants, expected) in [
        (vec![simple(SimpleType::Integer, "int"), none.clone()], optional(ValueType::Integer)),
        (vec![none.clone(), simple(SimpleType::String, "str")], optional(ValueType::String)),
        // A date has another transformer than a datetime.
        (vec![simple(SimpleType::Datetime, "date"), none.clone()], ValueType::Other),
        (
            vec![simple(SimpleType::Integer, "int"), simple(SimpleType::String, "str")],
            ValueType::Other,
        ),
    ] {
        let union = literal_type::Type::UnionType(UnionType { variants: variants.clone() });
        let declared = LiteralType { r#type: Some(union), ..LiteralType::default() };
        assert_eq!(ValueType::from(&declared), expected);
        let ValueType::Optional(inner) = &expected else { continue };
        for (value, variant) in
            [(json!("7"), &variants[usize::from(variants[0] == none)]), (json!(null), &none)]
        {
            let literal = from_json(&expected, &value).unwrap();
            let Some(literal::Value::Scalar(scalar)) = literal.value else { panic!("{value}") };
            let Some(scalar::Value::Union(union)) = scalar.value else { panic!("{value}") };
            assert_eq!(union.r#type.as_ref(), Some(variant));
            let expected = if value.is_null() {
                of_scalar(scalar::Value::NoneType(Void {}))
            } else {
                from_json(inner, &value).unwrap()
            };
            assert_eq!(union.value.as_deref(), Some(&expected));
        }
    }
}

#[test]
fn text_of_a_type_is_accepted_alike_everywhere() {
    let two = types(&[
        ("a", ValueType::Integer),
        ("b", ValueType::Float),
        ("c", ValueType::Boolean),
        ("d", ValueType::Datetime),
        ("e", optional(ValueType::Integer)),
        ("f", list_of(ValueType::Integer)),
    ]);
    let result =
        r#"{"a": "9007199254740993", "b": Infinity, "c": "True", "d": "2020-01-02", "f": "[7.0]"}"#;
    let outputs = outputs_from_text(&two, result).unwrap();
    let literals: Vec<Literal> =
        outputs.literals.into_iter().map(|named| named.value.unwrap()).collect();
    assert_eq!(literals[0], integer(9_007_199_254_740_993));
    assert_eq!(literals[1], float(f64::INFINITY));
    assert_eq!(literals[2], boolean(true));
    assert_eq!(literals[3], time(1_577_923_200, 0));
    assert_eq!(to_json(&literals[4]), Some(Value::Null));
    assert_eq!(literals[5], list(vec![integer(7)]));
    let nan = from_text(&ValueType::Float, "NaN").unwrap();
    assert!(format!("{nan:?}").contains("NaN"));
}

#[test]
fn object_with_numbers_that_a_struct_cannot_hold_is_messagepack() {
    let binary = |text: &str| match from_text(&ValueType::Struct, text).unwrap().value {
        Some(literal::Value::Scalar(scalar)) => match scalar.value {
            Some(scalar::Value::Binary(binary)) => Some((binary.tag, binary.value)),
            _ => None,
        },
        other => panic!("{other:?}"),
    };
    assert_eq!(binary(r#"{"a": [9007199254740992, 1.5, "NaN"]}"#), None);
    let (tag, bytes) = binary(r#"{"a": 9007199254740993}"#).unwrap();
    assert_eq!(tag, "msgpack");
    assert!(bytes.ends_with(&9_007_199_254_740_993_i64.to_be_bytes()));
    assert!(binary(r#"{"a": NaN}"#).is_some());
}

#[test]
fn result_of_too_many_values_is_rejected_before_it_is_parsed() {
    let text = format!("[{}0]", "[],".repeat(2_000_000));
    let error =
        outputs_from_text(&types(&[("o0", list_of(ValueType::Integer))]), &text).unwrap_err();
    assert_eq!(error, OutputsError::TooManyValues);
    let text = "[],".repeat(100);
    assert!(outputs_from_text(&types(&[("o0", ValueType::String)]), &text).is_ok());
}

#[test]
fn single_output_is_the_text() {
    let single = types(&[("o0", ValueType::Integer)]);
    assert_eq!(json_of(&outputs_from_text(&single, "7").unwrap()), json!({"o0": 7}));
    assert_eq!(outputs_from_text(&single, "x"), Err(OutputsError::WrongType("o0".to_owned())));
}

#[test]
fn several_outputs_are_values_of_a_json_object() {
    let two = types(&[("a", ValueType::Integer), ("b", ValueType::Struct)]);
    let result = r#"{"a": 1, "b": {"c": true}, "more": 0}"#;
    let outputs = outputs_from_text(&two, result).unwrap();
    assert_eq!(json_of(&outputs), json!({"a": 1, "b": {"c": true}}));
    let error = |result| outputs_from_text(&two, result).unwrap_err();
    assert_eq!(error(r#"{"a": 1}"#), OutputsError::Missing("b".to_owned()));
    assert_eq!(error(r#"{"a": 1, "b": "x"}"#), OutputsError::WrongType("b".to_owned()));
    assert_eq!(error("7"), OutputsError::NotAnObject);
    assert_eq!(outputs_from_text(&BTreeMap::new(), "{}"), Ok(Outputs::default()));
}

#[test]
fn oversized_outputs_are_rejected_with_the_limit() {
    let single = types(&[("o0", ValueType::String)]);
    let error = outputs_from_text(&single, &"x".repeat(MAX_OUTPUTS_BYTES)).unwrap_err();
    assert!(matches!(error, OutputsError::TooLarge(size) if size > MAX_OUTPUTS_BYTES));
    assert!(error.to_string().contains("the limit is 3145728"), "{error}");
}

#[test]
fn text_of_a_literal_is_what_flyte_writes_into_arguments() {
    for (literal, expected) in [
        (integer(-7), Some("-7")),
        (text("a b"), Some("a b")),
        (boolean(true), Some("true")),
        (file("s3://b/x"), Some("s3://b/x")),
        (list(vec![integer(1), list(vec![integer(2)])]), Some("[1,[2]]")),
        (list(vec![]), Some("[]")),
        (duration(), None),
        (list(vec![integer(1), duration()]), None),
        (of_scalar(scalar::Value::NoneType(Void {})), None),
        (Literal::default(), None),
    ] {
        assert_eq!(to_text(&literal).as_deref(), expected, "{literal:?}");
    }
}

#[test]
fn floats_are_formatted_as_in_go() {
    for (number, expected) in [
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
        assert_eq!(to_text(&float(number)).as_deref(), Some(expected));
    }
}

#[test]
fn times_are_formatted_in_utc_without_trailing_zeros() {
    for (literal, expected) in [
        (time(0, 0), "1970-01-01T00:00:00Z"),
        (time(1_577_934_245, 500_000_000), "2020-01-02T03:04:05.5Z"),
        (time(1_577_934_240, 0), "2020-01-02T03:04:00Z"),
        (time(1_577_934_245, 123_456_000), "2020-01-02T03:04:05.123456Z"),
    ] {
        assert_eq!(to_text(&literal).as_deref(), Some(expected));
        assert_eq!(to_json(&literal), Some(json!(expected)));
    }
}

#[test]
fn json_of_a_literal_is_typed() {
    let none = || of_scalar(scalar::Value::NoneType(Void {}));
    let union = |literal: Literal| {
        let value = Some(Box::new(literal));
        of_scalar(scalar::Value::Union(Box::new(Union { value, ..Union::default() })))
    };
    let map = |literal: Literal| Literal {
        value: Some(literal::Value::Map(LiteralMap {
            literals: [("k".to_owned(), literal)].into(),
        })),
        ..Literal::default()
    };
    for (literal, expected) in [
        (integer(7), Some(json!(7))),
        (float(7.0), Some(json!(7.0))),
        (boolean(false), Some(json!(false))),
        (text("7"), Some(json!("7"))),
        (file("s3://b/x"), Some(json!("s3://b/x"))),
        (union(integer(7)), Some(json!(7))),
        (union(none()), Some(Value::Null)),
        (list(vec![integer(1), text("a")]), Some(json!([1, "a"]))),
        (map(integer(1)), Some(json!({"k": 1}))),
        (float(f64::NAN), None),
        (duration(), None),
        (list(vec![duration()]), None),
        (map(duration()), None),
        (of_scalar(scalar::Value::Binary(Binary::default())), None),
        (Literal::default(), None),
    ] {
        assert_eq!(to_json(&literal), expected, "{literal:?}");
    }
}

proptest! {
    #[test]
    fn text_of_a_literal_is_read_back(
        number in any::<i64>(),
        fraction in any::<f64>().prop_filter("finite", |fraction| fraction.is_finite()),
        flag in any::<bool>(),
        words in ".*",
    ) {
        for (declared, literal) in [
            (ValueType::Integer, integer(number)),
            (ValueType::Float, float(fraction)),
            (ValueType::Boolean, boolean(flag)),
            (ValueType::String, text(&words)),
        ] {
            let written = to_text(&literal).unwrap();
            prop_assert_eq!(from_text(&declared, &written), Some(literal));
        }
    }

    #[test]
    fn json_of_a_literal_is_read_back(
        number in any::<i64>(),
        fraction in any::<f64>().prop_filter("finite", |fraction| fraction.is_finite()),
        flag in any::<bool>(),
        words in ".*",
        small in -(1_i64 << 53)..=(1_i64 << 53),
    ) {
        for (declared, value) in [
            (ValueType::Integer, json!(number)),
            (ValueType::Float, json!(fraction)),
            (ValueType::Boolean, json!(flag)),
            (ValueType::String, json!(words)),
            (ValueType::Struct, json!({"a": [small, words, flag, null]})),
        ] {
            let literal = from_json(&declared, &value).unwrap();
            prop_assert_eq!(to_json(&literal), Some(value));
        }
    }
}
