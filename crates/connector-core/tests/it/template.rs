use connector_core::{
    CreateContext,
    attempt::AttemptId,
    flyteidl2::{
        core::{Literal, Primitive, Scalar, literal, primitive, scalar},
        task::{Inputs, NamedLiteral},
    },
    prost_types::Duration,
    template::{Reference, Segment, Template, Variables},
};
use proptest::prelude::*;

use crate::fixtures::create_context;

fn variables(texts: &[(&str, &str)]) -> Variables {
    let mut variables = Variables::default();
    for (name, text) in texts {
        variables.insert(name, *text);
    }
    variables
}

fn known() -> Variables {
    variables(&[("runName", "r1"), ("actionName", "a0"), ("inputs.Day", "{{.runName}}")])
}

fn names(text: &str) -> Vec<&str> {
    Template::parse(text).references().map(Reference::name).collect()
}

fn primitive(value: primitive::Value) -> Literal {
    let primitive = scalar::Value::Primitive(Primitive { value: Some(value) });
    let scalar = Box::new(Scalar { value: Some(primitive) });
    Literal { value: Some(literal::Value::Scalar(scalar)), ..Literal::default() }
}

#[test]
fn references_are_recognized_in_any_case_and_with_spaces() {
    for (text, rendered) in [
        ("{{.runName}}", "r1"),
        ("{{ .RunName }}", "r1"),
        ("x{{.runname}}-{{.ACTIONNAME}}y", "xr1-a0y"),
        ("{{\t.runName\n}}", "r1"),
        ("{{.runName}}}}", "r1}}"),
        // Of more than two braces, the last two open a reference.
        ("{{{{.runname}}y", "{{r1y"),
        ("{{{.runName}}}", "{r1}"),
        ("{{.other {{.runName}}", "{{.other r1"),
    ] {
        assert_eq!(Template::parse(text).render(&known()).as_deref(), Ok(rendered), "{text}");
    }
}

#[test]
fn other_braces_are_text() {
    for text in [
        "",
        "{{",
        "}}",
        "{{.runName",
        "{{.runName}",
        "{ {.runName}}",
        "{{. }}",
        "{{.}}",
        "{{}}",
        "{{runName}}",
        "{{secrets/a/b}}",
        "{{job.id}}",
        "ä{{ö",
    ] {
        assert_eq!(names(text), [""; 0], "{text}");
        assert_eq!(Template::parse(text).render(&known()).as_deref(), Ok(text));
    }
}

#[test]
fn names_of_inputs_are_case_sensitive_and_values_are_not_rendered_again() {
    let template = Template::parse("{{ .INPUTS.Day }}");
    assert_eq!(template.render(&known()).as_deref(), Ok("{{.runName}}"));
    let error = Template::parse("{{.inputs.day}}").render(&known()).unwrap_err();
    assert_eq!(error.missing(), ["inputs.day"]);
}

#[test]
fn references_without_a_value_are_reported_by_name_and_can_be_kept() {
    let inputs = [
        ("wait", primitive(primitive::Value::Duration(Duration::default()))),
        ("n", primitive(primitive::Value::Integer(7))),
    ];
    let inputs =
        inputs.map(|(name, value)| NamedLiteral { name: name.to_owned(), value: Some(value) });
    let nothing = NamedLiteral { name: "nothing".to_owned(), value: None };
    let mut variables = known();
    variables.insert_inputs(&Inputs {
        literals: inputs.into_iter().chain([nothing]).collect(),
        ..Inputs::default()
    });
    let text = "{{.inputs.n}} {{.Other}} {{.inputs.wait}} {{.Other}} {{ .inputs.nothing }}";
    let template = Template::parse(text);
    let error = template.render(&variables).unwrap_err();
    assert_eq!(error.missing(), ["Other", "inputs.nothing"]);
    assert_eq!(error.without_text(), ["inputs.wait"]);
    assert_eq!(error.names().collect::<Vec<_>>(), ["Other", "inputs.nothing", "inputs.wait"]);
    assert_eq!(
        error.to_string(),
        "uses `Other`, which has no value; uses `inputs.nothing`, which has no value; \
         uses `inputs.wait`, whose type has no text"
    );
    let kept = "7 {{.Other}} {{.inputs.wait}} {{.Other}} {{ .inputs.nothing }}";
    assert_eq!(template.render_known(&variables), kept);
}

#[test]
fn text_that_is_one_reference_is_recognized() {
    for (text, name, input) in [
        ("{{ .inputs.n }}", "inputs.n", Some("n")),
        ("{{.Inputs.a.b}}", "Inputs.a.b", Some("a.b")),
        ("{{.outputPrefix}}", "outputPrefix", None),
    ] {
        let template = Template::parse(text);
        let reference = template.as_reference().unwrap();
        assert_eq!((reference.source(), reference.name()), (text, name));
        assert_eq!(reference.input(), input);
        assert!(reference.is(name));
    }
    for text in ["", "x", " {{.inputs.n}}", "{{.inputs.n}}{{.inputs.n}}"] {
        assert_eq!(Template::parse(text).as_reference(), None, "{text}");
    }
}

#[test]
fn variables_of_a_request_are_those_of_flyte() {
    let mut cx = create_context("40_executor_first_attempt");
    "s3://b/r/a0/1/".clone_into(&mut cx.output_prefix);
    "flyte".clone_into(&mut cx.execution.namespace);
    let attempt = AttemptId::from_request(&cx);
    let rendered = |cx: &CreateContext, name: &str| {
        let text = format!("{{{{.{name}}}}}");
        Template::parse(&text).render(&Variables::of_request(cx)).ok()
    };
    for (name, text) in [
        ("runName", attempt.run()),
        ("actionName", attempt.action()),
        ("outputPrefix", "s3://b/r/a0/1"),
        ("rawOutputDataPrefix", "s3://b/r/a0/1"),
        ("checkpointOutputPrefix", "s3://b/r/a0/1/_flytecheckpoints"),
        ("prevCheckpointPrefix", "\"\""),
        ("perRetryUniqueKey", &attempt.unique_key()),
        ("namespace", "flyte"),
    ] {
        assert_eq!(rendered(&cx, name).as_deref(), Some(text), "{name}");
    }
    for name in ["input", "inputPrefix", "runStartTime", "taskTemplatePath", "inputs"] {
        assert_eq!(rendered(&cx, name), None, "{name}");
    }
    cx.execution.task_execution_id.as_mut().unwrap().retry_attempt = 1;
    "s3://b/r/a0/2".clone_into(&mut cx.output_prefix);
    let previous = "s3://b/r/a0/1/_flytecheckpoints";
    assert_eq!(rendered(&cx, "prevCheckpointPrefix").as_deref(), Some(previous));
    // The executor has rendered all other variables in the arguments of a container.
    let in_container = Variables::of_attempt(&attempt);
    let template = Template::parse("{{.runName}} {{.outputPrefix}}");
    let kept = format!("{} {{{{.outputPrefix}}}}", attempt.run());
    assert_eq!(template.render_known(&in_container), kept);
}

/// Pieces of which texts with many braces are made.
fn text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "{{",
        "}}",
        ".",
        " ",
        "x",
        "ä",
        "runName",
        "{{.runName}}",
        "{{ .inputs.Day }}",
        "{{secrets/a/b}}",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn segments_joined_are_the_text(text in text()) {
        let template = Template::parse(&text);
        let source = |segment: &Segment<'_>| match *segment {
            Segment::Text(text) => text.to_owned(),
            Segment::Reference(reference) => reference.source().to_owned(),
        };
        prop_assert_eq!(template.segments().iter().map(source).collect::<String>(), text.clone());
        prop_assert_eq!(template.render_known(&Variables::default()), text);
    }

    #[test]
    fn text_between_references_has_no_reference(text in text()) {
        for segment in Template::parse(&text).segments() {
            match *segment {
                Segment::Text(text) => prop_assert_eq!(names(text), [""; 0]),
                Segment::Reference(reference) => {
                    prop_assert_eq!(Template::parse(reference.source()).as_reference(), Some(reference));
                }
            }
        }
    }

    #[test]
    fn value_is_inserted_unchanged(value in text(), before in "[a-z]*", after in "[a-z]*") {
        let template = format!("{before}{{{{.inputs.x}}}}{after}");
        let rendered = Template::parse(&template).render(&variables(&[("inputs.x", &value)]));
        prop_assert_eq!(rendered, Ok(format!("{before}{value}{after}")));
    }

    #[test]
    fn any_text_is_parsed(text in ".*") {
        prop_assert_eq!(Template::parse(&text).render_known(&Variables::default()), text);
    }
}
