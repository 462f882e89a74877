//! The connector's own credentials, each for one workspace, and optionally only for some projects and domains. Pure.

use databricks_client::{Credentials, Host, TokenEndpoints};

/// One credential of the connector. It is sent only to its host.
#[derive(Debug, Clone)]
pub(crate) struct OwnCredential {
    /// The operator's name for it.
    pub(crate) name: String,
    pub(crate) host: Host,
    /// The projects whose tasks may use it. Empty allows all.
    pub(crate) projects: Vec<String>,
    /// The domains whose tasks may use it. Empty allows all.
    pub(crate) domains: Vec<String>,
    pub(crate) credentials: Credentials,
}

impl OwnCredential {
    fn admits(&self, project: &str, domain: &str) -> bool {
        let contains = |list: &[String], name: &str| {
            list.is_empty() || list.iter().any(|allowed| allowed == name)
        };
        contains(&self.projects, project) && contains(&self.domains, domain)
    }
}

/// All own credentials, in order of precedence.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnCredentials(Vec<OwnCredential>);

impl OwnCredentials {
    pub(crate) fn push(&mut self, own: OwnCredential) {
        self.0.push(own);
    }

    /// Replaces the token endpoints of the clouds.
    pub(crate) fn with_token_endpoints(&mut self, endpoints: &TokenEndpoints) {
        // A replaced credential no longer shares its token cache with its clones.
        if *endpoints != TokenEndpoints::default() {
            for own in &mut self.0 {
                own.credentials = own.credentials.clone().with_token_endpoints(endpoints.clone());
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &OwnCredential> {
        self.0.iter()
    }

    fn of_host<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = &'a OwnCredential> {
        self.0.iter().filter(move |own| own.host.matches(host))
    }

    /// Returns the credential for a task of that project and domain.
    pub(crate) fn for_task<'a>(
        &'a self,
        host: &'a Host,
        project: &str,
        domain: &str,
    ) -> Option<&'a OwnCredential> {
        self.of_host(host).find(|own| own.admits(project, domain))
    }

    /// Returns the credential for a run: the named one, else the first one for that host. Calls about a run contain no
    /// project (flyte-contract.md#gettask).
    pub(crate) fn for_run<'a>(
        &'a self,
        host: &'a Host,
        name: Option<&str>,
    ) -> Option<&'a OwnCredential> {
        let named = name.and_then(|name| self.of_host(host).find(|own| own.name == name));
        named.or_else(|| self.of_host(host).next())
    }

    /// True if its host has several credentials, so that the resource meta must name it.
    pub(crate) fn is_one_of_several(&self, own: &OwnCredential) -> bool {
        self.of_host(&own.host).nth(1).is_some()
    }

    /// True if there is a credential for that host.
    pub(crate) fn has_host(&self, host: &Host) -> bool {
        self.of_host(host).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &str, host: &str, projects: &[&str], domains: &[&str]) -> OwnCredential {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        OwnCredential {
            name: name.to_owned(),
            host: Host::parse(host).unwrap(),
            projects: texts(projects),
            domains: texts(domains),
            credentials: Credentials::personal_access_token(name, "t".to_owned().into()),
        }
    }

    #[test]
    fn projects_choose_for_task_and_name_chooses_for_run() {
        let all = OwnCredentials(vec![
            own("a", "one.cloud.databricks.com", &["team-a"], &[]),
            own("prod", "one.cloud.databricks.com", &["team-b"], &["production"]),
            own("two", "two.cloud.databricks.com", &[], &[]),
        ]);
        let one = Host::parse("one.cloud.databricks.com").unwrap();
        let two = Host::parse("two.cloud.databricks.com").unwrap();
        let task = |host, project, domain| {
            all.for_task(host, project, domain).map(|own| own.name.as_str())
        };
        assert_eq!(task(&one, "team-a", "development"), Some("a"));
        assert_eq!(task(&one, "team-b", "production"), Some("prod"));
        assert_eq!(task(&one, "team-b", "development"), None);
        assert_eq!(task(&two, "team-b", "development"), Some("two"));
        let run = |host, name| all.for_run(host, name).map(|own| own.name.as_str());
        assert_eq!(run(&one, Some("prod")), Some("prod"));
        assert_eq!(run(&one, Some("two")), Some("a"), "a credential stays with its host");
        assert_eq!(run(&one, None), Some("a"));
        let two = all.for_run(&two, None).unwrap();
        assert!(!all.is_one_of_several(two));
        assert!(all.is_one_of_several(all.for_run(&one, None).unwrap()));
    }
}
