//! Service accounts in the file: every form that is right.

use std::path::PathBuf;
use std::time::Duration;

use super::super::tests::Given;
use super::super::{Keys, Kubernetes, KubernetesLogin, RoleRule, TokenReview};

const LEAST: &str = "auth: {kubernetes: {issuer: 'https://a', audiences: [vaultlet]}}";

fn clusters(yaml: &str) -> Vec<Kubernetes> {
    Given::new(yaml).config().auth.kubernetes
}

/// A file with one cluster, and these keys of its `login`.
fn login(keys: &str) -> KubernetesLogin {
    let yaml =
        format!("auth: {{kubernetes: {{issuer: 'https://a', audiences: v, login: {keys}}}}}");
    clusters(&yaml).remove(0).login
}

#[test]
fn what_is_left_out_has_a_default() {
    let expected = Kubernetes {
        issuer: "https://a".to_owned(),
        audiences: vec!["vaultlet".to_owned()],
        keys: Keys::Discovery,
        ca_file: None,
        token_file: None,
        review: None,
        node: None,
        leeway: Duration::from_secs(10),
        answer_logins: true,
        login: KubernetesLogin {
            namespace: String::new(),
            mount: "kubernetes".to_owned(),
            role: "{namespace}-{service_account}".to_owned(),
            rules: vec![],
        },
    };

    assert_eq!(clusters(LEAST), [expected]);
    assert!(clusters("auth: {kubernetes: }").is_empty());
    assert!(clusters("auth: {kubernetes: []}").is_empty());
}

#[test]
fn every_key_is_read() {
    let yaml = "
auth:
  kubernetes:
    issuer: kubernetes/serviceaccount
    audiences: [vaultlet, vault]
    jwks: {url: 'https://api:6443/openid/v1/jwks?x', ca_file: f.yaml, token_file: f.yaml}
    token_review:
      address: https://api:6443
      ca_file: f.yaml
      token_file: f.yaml
      accept_when_down: true
    node: node-1.internal
    leeway: 60s
    answer_logins: false
    login:
      namespace: team/a/
      mount: auth/clusters/one
      role: app
      rules:
        - {namespace: 'b-*', service_account: r, mount: auth/batch, role: 'x-{namespace}.{service_account}'}
        - {choose: ['*', App_1]}
";
    let given = Given::new(yaml);
    let file = given.file();
    let all = Kubernetes {
        issuer: "kubernetes/serviceaccount".to_owned(),
        audiences: vec!["vaultlet".to_owned(), "vault".to_owned()],
        keys: Keys::Url("https://api:6443/openid/v1/jwks?x".parse().unwrap()),
        ca_file: Some(file.clone()),
        token_file: Some(file.clone()),
        review: Some(TokenReview {
            address: "https://api:6443/".parse().unwrap(),
            ca_file: Some(file.clone()),
            token_file: Some(file),
            accept_when_down: true,
        }),
        node: Some("node-1.internal".to_owned()),
        leeway: Duration::from_mins(1),
        answer_logins: false,
        login: KubernetesLogin {
            namespace: "team/a".to_owned(),
            mount: "clusters/one".to_owned(),
            role: "app".to_owned(),
            rules: vec![
                RoleRule {
                    namespace: "b-*".to_owned(),
                    service_account: "r".to_owned(),
                    mount: Some("batch".to_owned()),
                    role: Some("x-{namespace}.{service_account}".to_owned()),
                    choose: vec![],
                },
                RoleRule {
                    namespace: "*".to_owned(),
                    service_account: "*".to_owned(),
                    mount: None,
                    role: None,
                    choose: vec!["*".to_owned(), "App_1".to_owned()],
                },
            ],
        },
    };

    assert_eq!(given.config().auth.kubernetes, [all]);
}

#[test]
fn one_may_stand_for_a_list_of_one() {
    let list = "auth: {kubernetes: [{issuer: 'https://a', audiences: vaultlet}]}";

    assert_eq!(clusters(list), clusters(LEAST));
}

#[test]
fn several_clusters_stand_side_by_side() {
    let yaml = "
auth:
  kubernetes:
    - {issuer: 'https://a', audiences: [v, w]}
    - {issuer: 'https://b', audiences: [v], login: {mount: b}}
    - {issuer: 'https://a', audiences: [x], login: {mount: c}}
";
    let mounts: Vec<_> = clusters(yaml).into_iter().map(|it| it.login.mount).collect();

    assert_eq!(mounts, ["kubernetes", "b", "c"]);
}

#[test]
fn overrides_reach_one_cluster_and_several() {
    let given = Given::new("")
        .set("auth.kubernetes.issuer=http://127.0.0.1:1")
        .set("auth.kubernetes.audiences=vaultlet")
        .set("auth.kubernetes.jwks.url=http://localhost:2/keys")
        .set("auth.kubernetes.login.role={namespace}")
        .set("auth.kubernetes.login.rules=[{namespace: a, role: b}]")
        .set("auth.kubernetes.login.rules.1.choose=[c, d]")
        .variable("VAULTLET_AUTH__KUBERNETES__NODE", "node-1");
    let one = &given.config().auth.kubernetes[0];
    assert_eq!(one.audiences, ["vaultlet"]);
    assert_eq!(one.keys, Keys::Url("http://localhost:2/keys".parse().unwrap()));
    assert_eq!(one.login.role, "{namespace}");
    assert_eq!(one.login.rules[1].choose, ["c", "d"]);
    assert_eq!(one.node.as_deref(), Some("node-1"));

    let several = Given::new("auth: {kubernetes: [{issuer: 'https://a', audiences: v}]}")
        .set("auth.kubernetes.0.audiences=[x, y]")
        .set("auth.kubernetes.1={issuer: 'https://b', audiences: [z]}")
        .config();
    assert_eq!(several.auth.kubernetes[0].audiences, ["x", "y"]);
    assert_eq!(several.auth.kubernetes[1].issuer, "https://b");
}

#[test]
fn an_override_of_where_the_keys_are_replaces_the_other() {
    let yaml = "auth: {kubernetes: {issuer: a, audiences: v, jwks: {url: 'https://a'}}}";
    let config = Given::new(yaml).set("auth.kubernetes.jwks.file=Cargo.toml").config();
    assert_eq!(config.auth.kubernetes[0].keys, Keys::File(PathBuf::from("Cargo.toml")));

    let yaml = "auth: {kubernetes: {issuer: a, audiences: v, jwks: {file: f.yaml}}}";
    let config = Given::new(yaml).set("auth.kubernetes.jwks.url=https://a").config();
    assert_eq!(config.auth.kubernetes[0].keys, Keys::Url("https://a/".parse().unwrap()));
}

#[test]
fn a_mount_is_stored_without_what_all_have() {
    for mount in ["auth/kubernetes", "kubernetes", "auth/kubernetes/", "kubernetes/"] {
        assert_eq!(login(&format!("{{mount: {mount}}}")).mount, "kubernetes");
    }
    assert_eq!(login("{mount: clusters/eu-1.b_2}").mount, "clusters/eu-1.b_2");
}

#[test]
fn the_login_is_in_the_upstreams_namespace_unless_it_has_its_own() {
    let namespace = |set: &str| {
        let given = Given::new(LEAST).set("upstream.namespace=/team/").set(set);
        given.config().auth.kubernetes.remove(0).login.namespace
    };
    assert_eq!(namespace("upstream.retries=2"), "team");
    assert_eq!(namespace("auth.kubernetes.login.namespace=other"), "other");
    assert_eq!(namespace("auth.kubernetes.login.namespace="), "", "the root namespace");
}

#[test]
fn what_only_looks_wrong_is_accepted() {
    for keys in [
        "issuer: 'http://[::1]:1', audiences: v",
        "issuer: 'https://oidc.eks.eu-1.example.com/id/A1B2', audiences: v",
        "issuer: 'https://a', audiences: [kubernetes, 'kubernetes.default.svcs', 'https://b']",
        "issuer: 'https://a', audiences: v, jwks: {ca_file: f.yaml}",
        "issuer: 'https://a', audiences: v, leeway: 0s, token_review: {address: 'http://127.0.0.1:1'}",
        "issuer: 'https://a', audiences: v, login: {rules: [{namespace: a-b}, {namespace: a-*}, {}]}",
        "issuer: 'https://a', audiences: v, login: {rules: [{service_account: a}, {service_account: b}]}",
    ] {
        clusters(&format!("auth: {{kubernetes: {{{keys}}}}}"));
    }
}
