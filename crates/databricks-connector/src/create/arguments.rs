//! The arguments of Flyte's runtime (`a0`): renders their template variables and adds the options that the executor
//! leaves out (flyte-contract.md#createtask).

use connector_core::{Error, attempt::AttemptId};

use super::{flyte_task::FlyteTask, template_variables::Variables};

/// The first argument of Flyte's runtime.
const RUNTIME: &str = "a0";

/// Returns the container's arguments, rendered and completed.
///
/// # Errors
///
/// `InvalidTask` when there are none; `FailedPrecondition` for a variable of a pod template without a known value.
pub(crate) fn of_runtime(flyte: &FlyteTask) -> Result<Vec<String>, Error> {
    let (container, variables) = (&flyte.container, &flyte.template_variables);
    if container.args.is_empty() {
        return Err(Error::invalid_task(
            "the task has no container arguments to start Flyte's runtime with",
        )
        .with_hint(
            "run a Flyte function, or set a task type such as `notebook_task` in `databricks_conf`",
        ));
    }
    if let Some(template) = &container.pod_template
        && let Some(variable) = first_unknown(&container.args, variables)
    {
        return Err(Error::failed_precondition(format!(
            "the pod template `{template}` uses the variable `{variable}`, whose value the connector does not know"
        ))
        .with_hint("run the task without a pod template, or write the value into the template's arguments"));
    }
    Ok(complete(&container.args, &flyte.attempt, &flyte.run_base, variables))
}

/// Renders the variables and adds missing options.
///
/// `--run-base-dir --org --project --domain` follow `a0`, in the order of the SDK's local mode
/// (flyte-contract.md#entrypoint-v2). An option that is present, or whose value is not known, is not added. Arguments of
/// other programs are only rendered.
fn complete(
    args: &[String],
    attempt: &AttemptId,
    run_base: &str,
    variables: &Variables,
) -> Vec<String> {
    let mut complete: Vec<String> = args.iter().map(|arg| render(arg, variables)).collect();
    if complete.first().is_none_or(|first| first != RUNTIME) {
        return complete;
    }
    let mut missing = Vec::new();
    for (option, value) in [
        ("--run-base-dir", run_base),
        ("--org", attempt.org()),
        ("--project", attempt.project()),
        ("--domain", attempt.domain()),
    ] {
        if !value.is_empty() && !is_set(&complete, option) {
            missing.push(option.to_owned());
            missing.push(value.to_owned());
        }
    }
    complete.splice(1..1, missing);
    complete
}

/// True if the option is set. Arguments after `--resolver` belong to the resolver.
fn is_set(args: &[String], option: &str) -> bool {
    args.iter().take_while(|arg| *arg != "--resolver").any(|arg| {
        arg == option || arg.strip_prefix(option).is_some_and(|rest| rest.starts_with('='))
    })
}

/// True if an argument names the file or the folder of the inputs.
pub(crate) fn name_inputs(args: &[String]) -> bool {
    args.iter()
        .flat_map(|arg| names(arg))
        .any(|name| matches!(key_of(name).as_str(), "input" | "inputprefix"))
}

/// Returns the first variable without a known value. Used for pod templates only: the executor has rendered a container's
/// arguments, so braces that remain there are text.
fn first_unknown(args: &[String], variables: &Variables) -> Option<String> {
    args.iter()
        .flat_map(|arg| names(arg))
        .find(|name| !variables.contains_key(&key_of(name)))
        .map(str::to_owned)
}

/// Returns the names of the variables in a text, as written.
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

/// Returns the key of a name in [`Variables`]. Only names of inputs are case-sensitive (flyte-contract.md#createtask).
fn key_of(name: &str) -> String {
    match name.split_once('.') {
        Some((kind, input)) if kind.eq_ignore_ascii_case("inputs") => format!("inputs.{input}"),
        _ => name.to_ascii_lowercase(),
    }
}

/// Replaces `{{.name}}`, in any case and with spaces inside the braces, by the variable's value. Unknown names stay.
fn render(text: &str, variables: &Variables) -> String {
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
    use flyteidl2::connector::CreateTaskRequest;

    use super::*;
    use crate::create::template_variables;

    fn attempt() -> AttemptId {
        let mut request = CreateTaskRequest::default();
        request.task_execution_metadata.get_or_insert_default().environment_variables = [
            ("_U_ORG_NAME", "local"),
            ("FLYTE_INTERNAL_EXECUTION_PROJECT", "p"),
            ("FLYTE_INTERNAL_EXECUTION_DOMAIN", "d"),
            ("RUN_NAME", "r1"),
            ("ACTION_NAME", "a0"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        AttemptId::from_request(&request.into())
    }

    #[track_caller]
    fn check(args: &str, expected: &str) {
        let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        let attempt = attempt();
        let variables = template_variables::of_container(&attempt);
        assert_eq!(complete(&args, &attempt, "s3://b/r1/", &variables).join(" "), expected);
    }

    #[test]
    fn missing_options_follow_command() {
        check(
            "a0 --inputs i --run-name {{.runName}} --name {{.actionName}} --resolver x",
            "a0 --run-base-dir s3://b/r1/ --org local --project p --domain d --inputs i --run-name r1 --name a0 --resolver x",
        );
    }

    #[test]
    fn present_options_are_not_added() {
        let full = "a0 --run-base-dir b --org=o --project p --domain d --name n";
        check(full, full);
        check("a0 --org o", "a0 --run-base-dir s3://b/r1/ --project p --domain d --org o");
    }

    #[test]
    fn arguments_of_resolver_are_not_options_of_runtime() {
        check(
            "a0 --resolver r --org mod",
            "a0 --run-base-dir s3://b/r1/ --org local --project p --domain d --resolver r --org mod",
        );
    }

    #[test]
    fn arguments_of_other_programs_are_only_rendered() {
        check("main.py {{.RunName}} --x", "main.py r1 --x");
    }

    #[test]
    fn unknown_value_adds_no_option() {
        let args = ["a0".to_owned(), "--name".to_owned()];
        assert_eq!(complete(&args, &AttemptId::default(), "", &Variables::new()), args);
    }

    #[test]
    fn arguments_that_name_inputs_are_recognised() {
        for (arg, names) in [
            ("{{.input}}", true),
            ("--inputs={{ .Input }}", true),
            ("{{.inputPrefix}}/x", true),
            ("{{.inputs.n}}", false),
            ("input", false),
            ("{{.outputPrefix}}", false),
        ] {
            assert_eq!(name_inputs(&["a0".to_owned(), arg.to_owned()]), names, "{arg}");
        }
    }

    #[test]
    fn first_unknown_variable_is_named() {
        let variables = template_variables::of_container(&attempt());
        let first = |arg: &str| first_unknown(&["a0".to_owned(), arg.to_owned()], &variables);
        assert_eq!(first("{{.runName}}"), None);
        assert_eq!(first("x{{ .Inputs.n }}"), Some("Inputs.n".to_owned()));
        assert_eq!(first("{{secrets/a/b}}"), None);
    }

    #[test]
    fn input_names_are_case_sensitive_and_values_are_not_rendered_again() {
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
        let variables = template_variables::of_container(&attempt());
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
