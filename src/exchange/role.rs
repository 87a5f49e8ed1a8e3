//! As which role does a service account log in, and where?

use crate::config::KubernetesLogin;
use crate::error::Error;
use crate::kubernetes::ServiceAccount;

/// How the service accounts of one cluster find their roles.
#[derive(Debug)]
pub struct Roles(KubernetesLogin);

impl Roles {
    /// As configured.
    pub fn new(config: &KubernetesLogin) -> Self {
        Self(config.clone())
    }

    /// The Vault namespace of the mounts; empty: the root namespace.
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// Whether service accounts of this cluster log in on `mount`.
    pub fn uses(&self, mount: &str) -> bool {
        self.0.mount == mount
            || self.0.rules.iter().any(|rule| rule.mount.as_deref() == Some(mount))
    }

    /// Whether a service account may log in as this role on this mount.
    pub fn permits(&self, account: &ServiceAccount, mount: &str, role: &str) -> bool {
        self.of(account, Some(role)).is_ok_and(|(its, _)| its == mount)
    }

    /// Mount and role of a service account. `chosen`: what its `X-Vault-Role` asks for.
    ///
    /// # Errors
    /// It may not choose that role.
    pub fn of<'s>(
        &'s self,
        account: &ServiceAccount,
        chosen: Option<&str>,
    ) -> Result<(&'s str, String), Error> {
        let rule = self.0.rules.iter().find(|rule| rule.covers(&account.namespace, &account.name));
        let mount = rule.and_then(|rule| rule.mount.as_deref()).unwrap_or(&self.0.mount);
        let template = rule.and_then(|rule| rule.role.as_deref()).unwrap_or(&self.0.role);
        let own = template
            .replace("{namespace}", &account.namespace)
            .replace("{service_account}", &account.name);
        let Some(chosen) = chosen.filter(|chosen| *chosen != own) else { return Ok((mount, own)) };
        let choice = rule.is_some_and(|rule| rule.permits(chosen));
        if !choice {
            return Err(Error::Denied(
                "X-Vault-Role names a role that this service account may not choose: leave it \
                 out, or have the role allowed in auth.kubernetes.login.rules",
            ));
        }
        Ok((mount, chosen.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RoleRule;

    fn roles(rules: Vec<RoleRule>) -> Roles {
        let (namespace, mount) = (String::new(), "kubernetes".to_owned());
        let role = "{namespace}-{service_account}".to_owned();
        Roles(KubernetesLogin { namespace, mount, role, rules })
    }

    fn rule(namespace: &str, role: Option<&str>, choose: &[&str]) -> RoleRule {
        RoleRule {
            namespace: namespace.into(),
            service_account: "*".into(),
            mount: None,
            role: role.map(Into::into),
            choose: choose.iter().map(|glob| (*glob).to_owned()).collect(),
        }
    }

    fn account(namespace: &str, name: &str) -> ServiceAccount {
        ServiceAccount {
            cluster: 0,
            namespace: namespace.into(),
            name: name.into(),
            uid: "u".into(),
            audiences: Box::default(),
        }
    }

    #[test]
    fn the_first_rule_that_applies_names_the_role_and_else_the_template_does() {
        let roles = roles(vec![
            rule("pay*", Some("payments"), &[]),
            rule("payments", Some("never"), &[]),
            rule("batch", Some("b-{service_account}"), &[]),
        ]);
        let role = |namespace, name| roles.of(&account(namespace, name), None).unwrap().1;

        assert_eq!(role("payments", "app"), "payments");
        assert_eq!(role("batch", "app"), "b-app");
        assert_eq!(role("web", "app"), "web-app");
    }

    #[test]
    fn a_role_can_be_chosen_only_where_a_rule_allows_it() {
        let roles = roles(vec![rule("ci", None, &["deploy-*", "read"])]);
        let choose = |namespace, role| roles.of(&account(namespace, "app"), Some(role)).ok();

        assert_eq!(choose("ci", "deploy-x").unwrap().1, "deploy-x");
        assert_eq!(choose("ci", "ci-app").unwrap().1, "ci-app");
        assert!(choose("ci", "admin").is_none());
        assert!(choose("web", "deploy-x").is_none());
        assert_eq!(choose("web", "web-app").unwrap().1, "web-app");
    }
}
