//! Completes the arguments of Flyte's runtime (`a0`), which arrive with gaps (FC §0.6).

use std::collections::BTreeMap;

use crate::task::execution::Execution;

/// Values of template variables by name: in lower case, but for the names of inputs, `inputs.<as the task wrote it>`.
pub(crate) type Variables = BTreeMap<String, String>;

/// The first argument of Flyte's runtime.
const RUNTIME: &str = "a0";

/// The arguments with variables rendered and with what the runtime needs and the executor leaves out.
///
/// `--run-base-dir --org --project --domain` follow `a0` directly, in the order of the SDK's own local mode (FC §4.1).
/// None is added that is there already, or whose value nobody knows. Other programs' arguments are only rendered.
pub(crate) fn complete(
    args: &[String],
    execution: &Execution,
    variables: &Variables,
) -> Vec<String> {
    let mut complete: Vec<String> = args.iter().map(|arg| render(arg, variables)).collect();
    if complete.first().is_none_or(|first| first != RUNTIME) {
        return complete;
    }
    let mut missing = Vec::new();
    for (flag, value) in [
        ("--run-base-dir", &execution.run_base),
        ("--org", &execution.org),
        ("--project", &execution.project),
        ("--domain", &execution.domain),
    ] {
        if !value.is_empty() && !is_set(&complete, flag) {
            missing.push(flag.to_owned());
            missing.push(value.clone());
        }
    }
    complete.splice(1..1, missing);
    complete
}

/// Whether the flag is among the options. What follows the resolver is the resolver's own.
fn is_set(args: &[String], flag: &str) -> bool {
    args.iter()
        .take_while(|arg| *arg != "--resolver")
        .any(|arg| arg == flag || arg.strip_prefix(flag).is_some_and(|rest| rest.starts_with('=')))
}

/// Whether one of the arguments is to name the inputs.
pub(crate) fn names_inputs(args: &[String]) -> bool {
    args.iter()
        .flat_map(|arg| names(arg))
        .any(|name| matches!(key_of(name).as_str(), "input" | "inputprefix"))
}

/// The first variable that is not known. Arguments of a container may hold braces of their own, which the executor has
/// looked at already; those of a pod template have been looked at by nobody.
pub(crate) fn first_unknown(args: &[String], variables: &Variables) -> Option<String> {
    args.iter()
        .flat_map(|arg| names(arg))
        .find(|name| !variables.contains_key(&key_of(name)))
        .map(str::to_owned)
}

/// The names of the variables in a text, as they are written.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (_, opened) = rest.split_once("{{")?;
            let (inside, _) = opened.split_once("}}")?;
            rest = opened;
            if let Some(name) = inside.trim().strip_prefix('.') {
                return Some(name);
            }
        }
    })
}

/// Case matters in the names of inputs alone (FC §1.3).
fn key_of(name: &str) -> String {
    match name.split_once('.') {
        Some((kind, input)) if kind.eq_ignore_ascii_case("inputs") => format!("inputs.{input}"),
        _ => name.to_ascii_lowercase(),
    }
}

/// Replaces `{{.name}}`, in any case and with spaces inside the braces, by the value of the variable. Unknown names
/// stay as they are.
pub(crate) fn render(text: &str, variables: &Variables) -> String {
    let mut rendered = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, opened)) = rest.split_once("{{") {
        rendered.push_str(before);
        let Some((inside, after)) = opened.split_once("}}") else {
            rendered.push_str("{{");
            rest = opened;
            continue;
        };
        let name = inside.trim().strip_prefix('.').map(key_of);
        if let Some(value) = name.and_then(|name| variables.get(&name)) {
            rendered.push_str(value);
            rest = after;
        } else {
            rendered.push_str("{{");
            rest = opened;
        }
    }
    rendered.push_str(rest);
    rendered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execution() -> Execution {
        Execution {
            org: "local".to_owned(),
            project: "p".to_owned(),
            domain: "d".to_owned(),
            run: "r1".to_owned(),
            action: "a0".to_owned(),
            run_base: "s3://b/r1/".to_owned(),
            ..Execution::default()
        }
    }

    #[track_caller]
    fn check(args: &str, expected: &str) {
        let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        assert_eq!(complete(&args, &execution(), &execution().variables()).join(" "), expected);
    }

    #[test]
    fn what_the_executor_leaves_out_follows_the_command() {
        check(
            "a0 --inputs i --run-name {{.runName}} --name {{.actionName}} --resolver x",
            "a0 --run-base-dir s3://b/r1/ --org local --project p --domain d --inputs i --run-name r1 --name a0 --resolver x",
        );
    }

    #[test]
    fn nothing_is_given_twice() {
        let full = "a0 --run-base-dir b --org=o --project p --domain d --name n";
        check(full, full);
        check("a0 --org o", "a0 --run-base-dir s3://b/r1/ --project p --domain d --org o");
    }

    #[test]
    fn an_argument_of_the_resolver_is_not_an_option_of_the_runtime() {
        check(
            "a0 --resolver r --org mod",
            "a0 --run-base-dir s3://b/r1/ --org local --project p --domain d --resolver r --org mod",
        );
    }

    #[test]
    fn other_programs_are_only_rendered() {
        check("main.py {{.RunName}} --x", "main.py r1 --x");
    }

    #[test]
    fn an_unknown_value_adds_nothing() {
        let args = ["a0".to_owned(), "--name".to_owned()];
        assert_eq!(complete(&args, &Execution::default(), &Variables::new()), args);
    }

    #[test]
    fn arguments_that_name_the_inputs_are_known() {
        for (arg, names) in [
            ("{{.input}}", true),
            ("--inputs={{ .Input }}", true),
            ("{{.inputPrefix}}/x", true),
            ("{{.inputs.n}}", false),
            ("input", false),
            ("{{.outputPrefix}}", false),
        ] {
            assert_eq!(names_inputs(&["a0".to_owned(), arg.to_owned()]), names, "{arg}");
        }
    }

    #[test]
    fn the_first_unknown_variable_is_named() {
        let variables = execution().variables();
        let first = |arg: &str| first_unknown(&["a0".to_owned(), arg.to_owned()], &variables);
        assert_eq!(first("{{.runName}}"), None);
        assert_eq!(first("x{{ .Inputs.n }}"), Some("Inputs.n".to_owned()));
        assert_eq!(first("{{secrets/a/b}}"), None);
    }

    #[test]
    fn the_name_of_an_input_is_taken_to_the_letter_and_its_value_is_no_template() {
        let variables =
            Variables::from([("inputs.Day".to_owned(), "{{.runName}} {{.other}}".to_owned())]);
        let arg = "{{ .INPUTS.Day }}".to_owned();
        assert_eq!(render(&arg, &variables), "{{.runName}} {{.other}}");
        assert_eq!(first_unknown(&[arg], &variables), None);
        let other_case = ["{{.inputs.day}}".to_owned()];
        assert_eq!(first_unknown(&other_case, &variables), Some("inputs.day".to_owned()));
    }

    #[test]
    fn unknown_variables_and_stray_braces_stay() {
        let execution = execution();
        let variables = execution.variables();
        for text in [
            "{{.other}}",
            "{{",
            "}}",
            "{{.runName",
            "{ {.runName}}",
            "{{runName}}",
            "{{secrets/a/b}}",
        ] {
            assert_eq!(render(text, &variables), text);
        }
        assert_eq!(render("x{{{{.runname}}y", &variables), "x{{r1y");
        assert_eq!(render("{{ .RunName }}", &variables), "r1");
        assert_eq!(render("{{.other}}-{{.ACTIONNAME}}", &variables), "{{.other}}-a0");
    }
}
