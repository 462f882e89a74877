//! Single inputs as text, for arguments that name them: `{{.inputs.day}}`.

use flyteidl2::{
    core::{Literal, literal, primitive, scalar},
    task::Inputs,
};

/// The variables of the inputs that are text, a number or a truth value. How Flyte would write a date or a duration is
/// not known, and others have no text.
pub(crate) fn variables(inputs: &Inputs) -> impl Iterator<Item = (String, String)> {
    inputs.literals.iter().filter_map(|input| {
        Some((format!("inputs.{}", input.name), text_of(input.value.as_ref()?)?))
    })
}

fn text_of(literal: &Literal) -> Option<String> {
    let literal::Value::Scalar(scalar) = literal.value.as_ref()? else { return None };
    let scalar::Value::Primitive(primitive) = scalar.value.as_ref()? else { return None };
    match primitive.value.as_ref()? {
        primitive::Value::Integer(number) => Some(number.to_string()),
        primitive::Value::FloatValue(number) => Some(number.to_string()),
        primitive::Value::StringValue(text) => Some(text.clone()),
        primitive::Value::Boolean(flag) => Some(flag.to_string()),
        primitive::Value::Datetime(_) | primitive::Value::Duration(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use flyteidl2::{
        core::{Primitive, Scalar},
        task::NamedLiteral,
    };

    use super::*;

    fn input(name: &str, value: primitive::Value) -> NamedLiteral {
        let scalar =
            Scalar { value: Some(scalar::Value::Primitive(Primitive { value: Some(value) })) };
        let value =
            Literal { value: Some(literal::Value::Scalar(Box::new(scalar))), ..Literal::default() };
        NamedLiteral { name: name.to_owned(), value: Some(value) }
    }

    #[test]
    fn what_has_one_text_is_written_and_the_rest_is_left_out() {
        let inputs = Inputs {
            literals: vec![
                input("n", primitive::Value::Integer(-7)),
                input("share", primitive::Value::FloatValue(0.25)),
                input("Day", primitive::Value::StringValue("a b".to_owned())),
                input("dry", primitive::Value::Boolean(true)),
                input("when", primitive::Value::Datetime(prost_types::Timestamp::default())),
                NamedLiteral { name: "nothing".to_owned(), value: None },
            ],
            ..Inputs::default()
        };
        let found: Vec<String> =
            variables(&inputs).map(|(name, text)| format!("{name}={text}")).collect();
        assert_eq!(
            found,
            ["inputs.n=-7", "inputs.share=0.25", "inputs.Day=a b", "inputs.dry=true"]
        );
    }
}
