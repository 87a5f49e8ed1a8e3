//! What is in the cluster? Namespaces, service accounts, pods, their tokens, and who may review.

use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::client::{Answer, Call};

/// A node's name. There is no such machine; a pod only has to name one.
pub const NODE: &str = "node-1";

impl ApiServer {
    pub async fn namespace(&self, name: &str) {
        self.create("/api/v1/namespaces", json!({"metadata": {"name": name}})).await.expect(201);
    }

    pub async fn service_account(&self, namespace: &str, name: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        self.create(&path, json!({"metadata": {"name": name}})).await.expect(201);
    }

    /// A pod on [`NODE`] that runs as this service account.
    pub async fn pod(&self, namespace: &str, name: &str, service_account: &str) {
        self.pod_on(NODE, namespace, name, service_account).await;
    }

    pub async fn pod_on(&self, node: &str, namespace: &str, name: &str, service_account: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let pod = json!({
            "metadata": {"name": name},
            "spec": {
                "serviceAccountName": service_account,
                "nodeName": node,
                "containers": [{"name": "app", "image": "app"}],
            },
        });
        self.create(&path, pod).await.expect(201);
    }

    /// A token as the kubelet would put it into this pod, for ten minutes, the shortest there is.
    pub async fn pod_token(&self, namespace: &str, pod: &str, audience: &str) -> String {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}");
        let found = self.ask(Call::get("").target(&path)).await.expect(200).json();
        let uid = found["metadata"]["uid"].as_str().unwrap();
        let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid});
        let spec = json!({
            "audiences": [audience], "expirationSeconds": 600, "boundObjectRef": bound,
        });
        self.request_token(namespace, found["spec"]["serviceAccountName"].as_str().unwrap(), spec)
            .await
    }

    /// A token that the API server itself takes, bound to nothing.
    pub async fn api_token(&self, namespace: &str, service_account: &str) -> String {
        self.request_token(namespace, service_account, json!({"expirationSeconds": 3600})).await
    }

    async fn request_token(&self, namespace: &str, service_account: &str, spec: Value) -> String {
        let path =
            format!("/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token");
        let answer = self.create(&path, json!({"spec": spec})).await.expect(201).json();
        answer["status"]["token"].as_str().unwrap().to_owned()
    }

    /// A service account that may review tokens, and its token for the API server.
    pub async fn reviewer(&self, namespace: &str, name: &str) -> String {
        self.service_account(namespace, name).await;
        let binding = json!({
            "metadata": {"name": format!("{namespace}-{name}")},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:auth-delegator",
            },
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": name}],
        });
        let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
        self.create(bindings, binding).await.expect(201);
        self.api_token(namespace, name).await
    }

    /// The status of a review of `token` for `audience`, asked for with the reviewer's token.
    pub async fn review(&self, reviewer: &str, token: &str, audience: &str) -> Value {
        let review = json!({"spec": {"token": token, "audiences": [audience]}});
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        let call = Call::new("POST", "").target(path).json(&review);
        self.as_account(reviewer, call).await.expect(201).json()["status"].clone()
    }

    pub async fn jwks(&self, reader: &str) -> Value {
        self.as_account(reader, Call::get("").target("/openid/v1/jwks")).await.expect(200).json()
    }

    pub async fn discovery(&self, reader: &str) -> Value {
        let path = "/.well-known/openid-configuration";
        self.as_account(reader, Call::get("").target(path)).await.expect(200).json()
    }

    pub async fn delete_pod(&self, namespace: &str, name: &str) {
        // At once: without a kubelet nobody confirms that its containers ended.
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}?gracePeriodSeconds=0");
        self.ask(Call::new("DELETE", "").target(&path)).await.expect(200);
    }

    pub async fn delete_service_account(&self, namespace: &str, name: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}");
        self.ask(Call::new("DELETE", "").target(&path)).await.expect(200);
    }

    async fn create(&self, collection: &str, object: Value) -> Answer {
        self.ask(Call::new("POST", "").target(collection).json(&object)).await
    }

    /// With all rights.
    async fn ask(&self, call: Call) -> Answer {
        let call = call.with("content-type", "application/json");
        self.client().send(&Self::as_admin(call)).await
    }

    /// With the rights of a service account.
    async fn as_account(&self, token: &str, call: Call) -> Answer {
        let call = call.with("content-type", "application/json");
        self.client().send(&call.with("authorization", &format!("Bearer {token}"))).await
    }
}
