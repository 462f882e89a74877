//! Links to a run's pages.

use connector_core::{LogLink, Resource};
use databricks_client::{Host, RunId, jobs::Run};

/// The name of the run page's link. Flyte merges links by name, and the Python plugin uses this one (FC §2.9).
const RUN_PAGE: &str = "Databricks Console";

/// The run's page, as Databricks says it or else where it has always been. None while the job is not known.
fn run_page(host: &Host, run_id: RunId, run: &Run) -> Option<LogLink> {
    let uri = match (&run.run_page_url, run.job_id) {
        (Some(url), _) if url.starts_with("https://") || url.starts_with("http://") => url.clone(),
        (_, Some(job_id)) => format!("{}/#job/{job_id}/run/{run_id}", host.base_url()),
        (_, None) => return None,
    };
    Some(LogLink { name: RUN_PAGE.to_owned(), uri })
}

/// Adds the links of a run; the run page comes first.
pub(crate) fn add(mut resource: Resource, host: &Host, run_id: RunId, run: &Run) -> Resource {
    resource.links.extend(run_page(host, run_id, run));
    resource
}
