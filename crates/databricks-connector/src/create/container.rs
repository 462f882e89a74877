//! The container of a task: image, arguments, environment.

use std::collections::BTreeMap;

use connector_core::{CreateContext, Error, value};
use flyteidl2::core::{K8sPod, task_template::Target};
use serde_json::Value;

/// The container of a task, or the primary container of its pod template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) image: Option<String>,
    pub(crate) args: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    /// The name of the pod template that the container is from. Its arguments arrive unrendered
    /// (flyte-contract.md#createtask).
    pub(crate) pod_template: Option<String>,
}

impl Container {
    /// Returns the container of the request's task, or an empty one when the task has none.
    ///
    /// # Errors
    ///
    /// `InvalidTask` for a pod template that cannot be read, or that lacks its primary container.
    pub(crate) fn from_request(cx: &CreateContext) -> Result<Self, Error> {
        match &cx.template.target {
            Some(Target::Container(container)) => Ok(Self {
                image: given(&container.image),
                args: container.args.clone(),
                environment: container
                    .env
                    .iter()
                    .map(|pair| (pair.key.clone(), pair.value.clone()))
                    .collect(),
                pod_template: None,
            }),
            Some(Target::K8sPod(pod)) => Self::from_pod(pod, cx),
            Some(Target::Sql(_)) | None => Ok(Self::default()),
        }
    }

    fn from_pod(pod: &K8sPod, cx: &CreateContext) -> Result<Self, Error> {
        let spec =
            pod.pod_spec.as_ref().map(value::json_from_struct).transpose().map_err(|error| {
                Error::invalid_task(format!("the task's pod template is not JSON: {error}"))
            })?;
        let spec = Value::Object(spec.unwrap_or_default());
        let primary = given(&pod.primary_container_name)
            .or_else(|| cx.template.config.get("primary_container_name").cloned())
            .unwrap_or_else(|| "primary".to_owned());
        let containers =
            spec.get("containers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let container = containers
            .iter()
            .find(|container| container.get("name").and_then(Value::as_str) == Some(&primary))
            .ok_or_else(|| {
                Error::invalid_task(format!("the task's pod template has no container `{primary}`"))
                    .with_hint("set the primary container name of the pod template to one of its containers")
            })?;
        let args =
            container.get("args").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let environment =
            container.get("env").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let metadata = cx.template.metadata.as_ref();
        Ok(Self {
            image: container.get("image").and_then(Value::as_str).and_then(given),
            args: args.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            // A value that the pod reads from elsewhere, such as a Secret, is not available outside the pod.
            environment: environment
                .iter()
                .filter_map(|pair| {
                    Some((
                        pair.get("name")?.as_str()?.to_owned(),
                        pair.get("value")?.as_str()?.to_owned(),
                    ))
                })
                .collect(),
            pod_template: Some(
                metadata
                    .map(|metadata| metadata.pod_template_name.as_str())
                    .and_then(given)
                    .unwrap_or(primary),
            ),
        })
    }

    /// True if the arguments have a pickled function instead of a code bundle.
    pub(crate) fn has_pickle(&self) -> bool {
        self.args.iter().any(|arg| arg == "--pkl")
    }

    /// True if the arguments have a code bundle.
    pub(crate) fn has_bundle(&self) -> bool {
        self.args.iter().any(|arg| arg == "--tgz")
    }
}

fn given(text: impl AsRef<str>) -> Option<String> {
    let text = text.as_ref();
    (!text.is_empty()).then(|| text.to_owned())
}
