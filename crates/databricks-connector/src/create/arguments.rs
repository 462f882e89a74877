//! The arguments of Flyte's runtime (`a0`): renders their template variables and adds the options that the executor
//! leaves out (flyte-contract.md#createtask).

use connector_core::{Error, attempt::AttemptId, template::Template};

use super::flyte_task::FlyteTask;

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
    let templates = container.args.iter().map(|arg| Template::parse(arg));
    let rendered = match &container.pod_template {
        // The executor has rendered these, so braces that remain are text.
        None => templates.map(|template| template.render_known(variables)).collect(),
        Some(name) => templates
            .map(|template| template.render(variables))
            .collect::<Result<_, _>>()
            .map_err(|error| {
                let variable = error.names().next().unwrap_or_default();
                Error::failed_precondition(format!(
                    "the pod template `{name}` uses the variable `{variable}`, whose value the connector does not know"
                ))
                .with_hint("run the task without a pod template, or write the value into the template's arguments")
            })?,
    };
    Ok(complete(rendered, &flyte.attempt, &flyte.run_base))
}

/// Adds missing options.
///
/// `--run-base-dir --org --project --domain` follow `a0`, in the order of the SDK's local mode
/// (flyte-contract.md#entrypoint-v2). An option that is present, or whose value is not known, is not added. Arguments of
/// other programs stay as they are.
fn complete(mut args: Vec<String>, attempt: &AttemptId, run_base: &str) -> Vec<String> {
    if args.first().is_none_or(|first| first != RUNTIME) {
        return args;
    }
    let mut missing = Vec::new();
    for (option, value) in [
        ("--run-base-dir", run_base),
        ("--org", attempt.org()),
        ("--project", attempt.project()),
        ("--domain", attempt.domain()),
    ] {
        if !value.is_empty() && !is_set(&args, option) {
            missing.push(option.to_owned());
            missing.push(value.to_owned());
        }
    }
    args.splice(1..1, missing);
    args
}

/// True if the option is set. Arguments after `--resolver` belong to the resolver.
fn is_set(args: &[String], option: &str) -> bool {
    args.iter().take_while(|arg| *arg != "--resolver").any(|arg| {
        arg == option || arg.strip_prefix(option).is_some_and(|rest| rest.starts_with('='))
    })
}

/// True if an argument names the file or the folder of the inputs.
pub(crate) fn name_inputs(args: &[String]) -> bool {
    args.iter().any(|arg| {
        let template = Template::parse(arg);
        template.references().any(|reference| reference.is("input") || reference.is("inputPrefix"))
    })
}

#[cfg(test)]
mod tests {
    use flyteidl2::connector::CreateTaskRequest;

    use super::*;

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
        assert_eq!(complete(args, &attempt(), "s3://b/r1/").join(" "), expected);
    }

    #[test]
    fn missing_options_follow_command() {
        check(
            "a0 --inputs i --run-name r1 --name a0 --resolver x",
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
    fn arguments_of_other_programs_are_not_completed() {
        check("main.py --x", "main.py --x");
    }

    #[test]
    fn unknown_value_adds_no_option() {
        let args = vec!["a0".to_owned(), "--name".to_owned()];
        assert_eq!(complete(args.clone(), &AttemptId::default(), ""), args);
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
}
