//! Service accounts: whose tokens are accepted, how they are checked, and how they become Vault
//! tokens.
//!
//! No message repeats a value: someone may have written a token in the wrong place.

use std::path::PathBuf;
use std::time::Duration;

use super::address;
use super::glob;
use super::problem::{nearest, shown};
use super::reader::{Field, Section};
use super::{Keys, Kubernetes, KubernetesLogin, RoleRule, TokenReview};

#[cfg(test)]
mod tests;

const DEFAULT_LEEWAY: Duration = Duration::from_secs(10);
const DEFAULT_MOUNT: &str = "kubernetes";
const DEFAULT_ROLE: &str = "{namespace}-{service_account}";
/// What a role may be made of, without the braces.
const PLACEHOLDERS: [&str; 2] = ["namespace", "service_account"];

/// The clusters: a list of sections, or one. `namespace`: that of the upstream.
pub(super) fn clusters(field: &Field<'_>, namespace: &str) -> Vec<Kubernetes> {
    let mut clusters: Vec<Kubernetes> = Vec::new();
    for entry in field.one_or_more() {
        let Some(cluster) = entry.section(|section| cluster(section, namespace)) else { continue };
        if clusters.iter().any(|earlier| claim_one_token(earlier, &cluster)) {
            let hint = "give each an audience of its own, or make one of the two";
            entry.complain("an earlier entry has this issuer and one of these audiences", hint);
        }
        clusters.push(cluster);
    }
    clusters
}

/// Whether one token could belong to both.
fn claim_one_token(one: &Kubernetes, other: &Kubernetes) -> bool {
    one.issuer == other.issuer && one.audiences.iter().any(|it| other.audiences.contains(it))
}

fn cluster(cluster: &Section<'_>, namespace: &str) -> Option<Kubernetes> {
    let (issuer_field, jwks, review) =
        (cluster.field("issuer"), cluster.field("jwks"), cluster.field("token_review"));
    let issuer = issuer(cluster, &issuer_field);
    let (keys, ca_file, token_file) =
        jwks.section(|jwks| keys(jwks, issuer.is_some().then_some(&issuer_field)));
    let audiences = audiences(cluster, issuer.as_deref());
    let review = review.given().then(|| review.section(token_review));
    let node = node(&cluster.field("node"));
    let leeway = cluster.field("leeway").duration_up_to(Duration::from_mins(1));
    let answer_logins = cluster.field("answer_logins").flag().unwrap_or(true);
    let login = cluster.field("login").section(|section| login(section, namespace));
    Some(Kubernetes {
        issuer: issuer?,
        audiences,
        keys: keys?,
        ca_file,
        token_file,
        review: review.flatten(),
        node,
        leeway: leeway.unwrap_or(DEFAULT_LEEWAY),
        answer_logins,
        login,
    })
}

fn issuer(cluster: &Section<'_>, field: &Field<'_>) -> Option<String> {
    if !field.given() {
        let hint = "add the `iss` of the cluster's tokens: kubectl get --raw \
                    /.well-known/openid-configuration";
        cluster.complain("`issuer` is missing", hint);
    }
    let text = field.text()?;
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        field.complain("expected an issuer", "write the `iss` of the tokens, byte for byte");
        return None;
    }
    Some(text.to_owned())
}

/// Where the keys are, and what it takes to get them. Without an address, discovery begins at
/// `issuer`, where there is one.
fn keys(
    jwks: &Section<'_>,
    issuer: Option<&Field<'_>>,
) -> (Option<Keys>, Option<PathBuf>, Option<PathBuf>) {
    let (url, file) = (jwks.field("url"), jwks.field("file"));
    let (ca, token) = (jwks.field("ca_file"), jwks.field("token_file"));
    if file.given() {
        if url.given() {
            file.complain("given beside `url`", "remove one of the two");
        }
        for unused in [&ca, &token] {
            if unused.given() {
                unused.complain("has no effect beside `file`", "remove one of the two");
            }
        }
    }
    let keys = if file.given() {
        file.readable_file().map(Keys::File)
    } else if url.given() {
        address::keys(&url).map(Keys::Url)
    } else {
        issuer.and_then(address::issuer).map(|_| Keys::Discovery)
    };
    (keys, ca.readable_file(), token.readable_file())
}

/// The audiences, of which none may be one that the API server takes for its own.
fn audiences(cluster: &Section<'_>, issuer: Option<&str>) -> Vec<String> {
    let field = cluster.field("audiences");
    if field.empty() {
        let hint = "add `audiences: [vaultlet]`, and ask for tokens with that audience";
        cluster.complain("`audiences` is missing: any token of the cluster would do", hint);
        return vec![];
    }
    let mut audiences: Vec<String> = Vec::new();
    for entry in field.one_or_more() {
        let Some(text) = entry.text() else { continue };
        let host = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
        let host = host.strip_prefix("kubernetes.default.svc");
        if text.is_empty() || text.contains(char::is_control) {
            entry.complain("expected an audience", "write one of the `aud` of the tokens");
        } else if issuer == Some(text)
            || host.is_some_and(|it| it.is_empty() || it.starts_with('.'))
        {
            let what = "is the API server's own audience: who takes such a token from here can \
                        use it there";
            let hint = "name one that is vaultlet's alone, and ask for tokens with it";
            entry.complain(what, hint);
        } else if audiences.iter().any(|earlier| earlier == text) {
            entry.complain("this audience is in the list already", "remove one of the two");
        }
        audiences.push(text.to_owned());
    }
    audiences
}

fn token_review(review: &Section<'_>) -> Option<TokenReview> {
    let address = review.field("address");
    if !address.given() {
        let hint = "add `address: https://kubernetes.default.svc`, the API server";
        review.complain("`address` is missing", hint);
    }
    let ca_file = review.field("ca_file").readable_file();
    let token_file = review.field("token_file").readable_file();
    let accept_when_down = review.field("accept_when_down").flag().unwrap_or(false);
    let address = address::api_server(&address)?;
    Some(TokenReview { address, ca_file, token_file, accept_when_down })
}

fn node(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text.is_empty() || !text.bytes().all(in_name) {
        // From a variable that is not set it would be empty, and pods of any node would do.
        field.complain("expected a node's name", "write it as `kubectl get nodes` does");
        return None;
    }
    Some(text.to_owned())
}

fn login(login: &Section<'_>, namespace: &str) -> KubernetesLogin {
    let own = address::namespace(&login.field("namespace"));
    KubernetesLogin {
        namespace: own.as_deref().unwrap_or(namespace).trim_matches('/').to_owned(),
        mount: mount(&login.field("mount")).unwrap_or_else(|| DEFAULT_MOUNT.to_owned()),
        role: role(&login.field("role")).unwrap_or_else(|| DEFAULT_ROLE.to_owned()),
        rules: rules(&login.field("rules")),
    }
}

/// The rules that are right. One that no service account can reach is a mistake, and is reported.
fn rules(list: &Field<'_>) -> Vec<RoleRule> {
    let mut rules: Vec<RoleRule> = Vec::new();
    for field in list.list() {
        let rule = field.section(rule);
        if let Some(earlier) = rules.iter().position(|above| above.hides(&rule)) {
            let what = format!("never used: rule {earlier} above matches all its service accounts");
            field.complain(what, "the first match wins: move it up, or remove it");
        }
        rules.push(rule);
    }
    rules
}

fn rule(rule: &Section<'_>) -> RoleRule {
    let part = |name: &'static str| {
        let hint = "write lower-case letters, digits, `-` and `.`; `*` is any run of them";
        let text = pattern(&rule.field(name), in_name, hint);
        text.unwrap_or_else(|| "*".to_owned())
    };
    let hint = "write letters, digits, `-`, `_` and `.`; `*` is any run of them";
    let choose = rule.field("choose").list();
    RoleRule {
        namespace: part("namespace"),
        service_account: part("service_account"),
        mount: mount(&rule.field("mount")),
        role: role(&rule.field("role")),
        choose: choose.iter().filter_map(|role| pattern(role, glob::in_role, hint)).collect(),
    }
}

/// A glob that can match a name made of certain characters.
fn pattern(field: &Field<'_>, in_name: impl Fn(u8) -> bool, hint: &str) -> Option<String> {
    let text = field.text()?;
    if text.is_empty() || !text.bytes().all(|byte| byte == b'*' || in_name(byte)) {
        field.complain("matches nothing: no name is like this", hint);
        return None;
    }
    Some(text.to_owned())
}

/// Whether a byte may stand in a name of Kubernetes (RFC 1123).
fn in_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
}

/// The path of an auth method, without `auth/` and without slashes at its ends.
fn mount(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let path = text.strip_prefix("auth/").unwrap_or(text);
    let path = path.strip_suffix('/').unwrap_or(path);
    let right = path
        .split('/')
        .all(|segment| !matches!(segment, "" | "." | "..") && segment.bytes().all(glob::in_role));
    if !right {
        field.complain("expected the path of an auth method", "write auth/kubernetes");
        return None;
    }
    Some(path.to_owned())
}

/// The name of a role, in which the placeholders stand for the service account's names.
fn role(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            field.complain("has a `{` without its `}`", "close it, as in {namespace}");
            return None;
        };
        if !PLACEHOLDERS.contains(&name) {
            let hint = nearest(name, &PLACEHOLDERS).map_or_else(
                || "there are {namespace} and {service_account}".to_owned(),
                |near| format!("did you mean `{{{near}}}`?"),
            );
            field.complain(format!("unknown placeholder {}", shown(name)), hint);
            return None;
        }
        literal.push_str(before);
        rest = after;
    }
    literal.push_str(rest);
    if text.is_empty() || !literal.bytes().all(glob::in_role) {
        let hint = "write letters, digits, `-`, `_` and `.`, and {namespace} or {service_account}";
        field.complain("expected the name of a role", hint);
        return None;
    }
    Some(text.to_owned())
}
