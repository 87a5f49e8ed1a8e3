//! What do operators see, and what does nobody see?

use serde_json::{Value, json};

use crate::client::{Answer, Call};
use crate::vaultlet::Vaultlet;
use crate::world::{World, fresh, hit};

const PATH: &str = "secret/data/canary-path";

fn at(target: &str) -> Call {
    Call::get("").target(target)
}

/// A world in which something of everything has happened; the caller's token too.
async fn used(settings: Value) -> (World, String) {
    let world = World::new(settings).await;
    world.put("canary-path", "canary-value").await;
    let token = world.token(&["reader"]).await;
    let caller = world.caller(&token);
    fresh(&caller.get(PATH).await, "canary-value");
    hit(&caller, PATH, "canary-value").await;
    let write = json!({"data": {"value": "canary-written"}});
    world.caller("root").post("secret/data/canary-other", write).await.expect(200);
    caller.get("secret/data/canary-denied/../x").await;
    caller.get("sys/policies/acl").await.expect(403);
    world.caller("s.canarytokenthatisunknown").get(PATH).await.expect(403);
    (world, token)
}

#[tokio::test]
async fn metrics_have_their_names_and_labels() {
    let (world, _) = used(json!({})).await;
    let metrics = world.vaultlet.admin().send(&at("/metrics")).await.expect(200);
    let text = metrics.text();
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain"), "{metrics:?}");

    for (name, labels) in [
        ("vaultlet_requests_total", &["route=\"kv_read\"", "result=\"hit\"", "code=\"200\""][..]),
        ("vaultlet_requests_total", &["route=\"kv_read\"", "result=\"miss\""]),
        ("vaultlet_requests_total", &["route=\"kv_write\""]),
        ("vaultlet_request_duration_seconds_count", &["route=\"kv_read\"", "result=\"hit\""]),
        ("vaultlet_request_duration_seconds_bucket", &["le=\"0.05\""]),
        ("vaultlet_request_duration_seconds_bucket", &["le=\"0.2\""]),
        ("vaultlet_upstream_requests_total", &["operation=", "code=\"200\""]),
        ("vaultlet_upstream_request_duration_seconds_count", &["operation="]),
        ("vaultlet_upstream_up", &["address="]),
        ("vaultlet_cache_entries", &["cache=\"kv\""]),
        ("vaultlet_cache_bytes", &["cache=\"kv\""]),
        ("vaultlet_identities", &[]),
        ("vaultlet_build_info", &["version="]),
        ("process_resident_memory_bytes", &[]),
    ] {
        let found = world.vaultlet.metric(name, labels).await;
        assert!(found > 0.0, "{name} {labels:?} is missing or 0:\n{text}");
    }
    for name in [
        "vaultlet_upstream_sealed",
        "vaultlet_coalesced_requests_total",
        "vaultlet_stale_responses_total",
        "vaultlet_shed_requests_total",
        "vaultlet_cache_evictions_total",
        "vaultlet_logins_total",
    ] {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} is missing:\n{text}");
    }
    let routes =
        ["kv_read", "kv_write", "list", "lease", "lease_op", "login", "api", "passthrough"];
    let results = ["hit", "stale", "miss", "collapsed", "bypass", "denied", "shed", "error"];
    for (label, known) in [("route=\"", routes), ("result=\"", results)] {
        for line in text.lines().filter(|line| line.starts_with("vaultlet_request")) {
            let value = line.split_once(label).unwrap().1.split('"').next().unwrap();
            assert!(known.contains(&value), "{line}");
        }
    }
}

#[tokio::test]
async fn nothing_secret_is_in_logs_metrics_or_status() {
    let (mut world, token) = used(json!({"log": {"level": "info"}})).await;
    let admin = world.vaultlet.admin();
    let pages = ["/metrics", "/status", "/", "/livez", "/readyz"];
    let mut seen = Vec::new();
    for page in pages {
        seen.push((page, admin.send(&at(page)).await.text()));
    }
    let caller = world.caller(&token);
    world.bao.kill().await;
    caller.get("secret/data/canary-unread").await.expect_own_error(&[502, 503, 504]);
    seen.push(("/status", admin.send(&at("/status")).await.text()));
    seen.push(("the log", world.vaultlet.log()));

    for (place, text) in seen {
        for secret in ["canary", token.as_str(), &token[2..10]] {
            assert!(!text.contains(secret), "{secret} is in {place}:\n{text}");
        }
    }
}

#[tokio::test]
async fn nothing_secret_is_in_the_log_even_at_trace() {
    let (world, token) = used(json!({"log": {"level": "trace"}})).await;

    let log = world.vaultlet.log();
    for secret in ["canary-value", "canary-written", token.as_str(), "canarytoken"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn health_says_alive_and_ready() {
    let (world, _) = used(json!({})).await;
    let admin = world.vaultlet.admin();

    admin.send(&at("/livez")).await.expect(200);
    admin.send(&at("/readyz")).await.expect(200);
    admin.send(&at("/nothing")).await.expect(404);
}

#[tokio::test]
async fn status_is_json_and_names_paths_only_when_told_to() {
    for show in [false, true] {
        let (world, _) = used(json!({"admin": {"show_paths": show}})).await;
        let status = world.vaultlet.admin().send(&at("/status")).await.expect(200);
        assert!(status.json().is_object());
        assert!(!status.text().contains("canary-value"));
        if !show {
            assert!(!status.text().contains("canary-path"), "{status:?}");
        }
    }
}

async fn clear(world: &World, target: &str, body: Value) -> Answer {
    world.vaultlet.admin().send(&Call::new("POST", "").target(target).json(&body)).await
}

#[tokio::test]
async fn the_cache_can_be_cleared_whole_by_path_and_by_token() {
    let (world, token) = used(json!({})).await;
    let caller = world.caller(&token);
    let lookup = caller.get("auth/token/lookup-self").await;
    // `reader` has the default policy too, which is what lets it look itself up.
    let accessor = lookup.expect(200).json()["data"]["accessor"].clone();
    world.put("kept", "kept").await;
    let warm = async || {
        for (path, value) in [(PATH, "canary-value"), ("secret/data/kept", "kept")] {
            caller.get(path).await.expect(200);
            hit(&caller, path, value).await;
        }
    };

    for target in ["/cache/clear", "/agent/v1/cache-clear", "/proxy/v1/cache-clear"] {
        warm().await;
        clear(&world, target, json!({"type": "all"})).await.expect(200);
        fresh(&caller.get(PATH).await, "canary-value");
        fresh(&caller.get("secret/data/kept").await, "kept");
    }
    warm().await;
    let body = json!({"type": "path", "value": "secret/data/canary-path"});
    clear(&world, "/cache/clear", body).await.expect(200);
    hit(&caller, "secret/data/kept", "kept").await;
    fresh(&caller.get(PATH).await, "canary-value");

    // Who has the token's rights shows them anew, whoever it is.
    let second = world.caller_with(&["reader"]).await;
    for body in [
        json!({"type": "token", "value": token}),
        json!({"type": "token_accessor", "value": accessor}),
    ] {
        warm().await;
        hit(&second, PATH, "canary-value").await;
        clear(&world, "/cache/clear", body).await.expect(200);
        fresh(&second.get(PATH).await, "canary-value");
    }

    warm().await;
    // Revoked behind vaultlet's back: without the clearing it would be believed for the window.
    let revoke = json!({"accessor": accessor});
    world.server().post("auth/token/revoke-accessor", revoke).await.expect(204);
    hit(&caller, PATH, "canary-value").await;
    let body = json!({"type": "token_accessor", "value": accessor});
    clear(&world, "/cache/clear", body).await.expect(200);
    caller.get(PATH).await.expect(403);

    for bad in [json!({}), json!({"type": "nothing"}), json!({"type": "path"}), json!([])] {
        let answer = clear(&world, "/cache/clear", bad).await.expect(400);
        assert!(answer.json()["errors"][0].is_string(), "{answer:?}");
    }
    world.vaultlet.admin().send(&at("/cache/clear")).await.expect(405);
}

#[tokio::test]
async fn the_agents_paths_are_on_the_admin_listener_only() {
    let (world, _) = used(json!({})).await;
    for program in ["agent", "proxy"] {
        let metrics = at(&format!("/{program}/v1/metrics"));
        let text = world.vaultlet.admin().send(&metrics).await.expect(200).text();
        assert!(text.contains("vaultlet_requests_total"), "{text}");
    }

    let public = world.caller("root");
    let all = json!({"type": "all"});
    for target in
        ["/metrics", "/status", "/livez", "/readyz", "/agent/v1/metrics", "/proxy/v1/metrics"]
    {
        let answer = public.send(&at(target)).await;
        assert!(!answer.text().contains("vaultlet_requests_total"), "{target}: {answer:?}");
        assert_ne!(answer.status, 200, "{target}: {answer:?}");
    }
    for target in ["/cache/clear", "/agent/v1/cache-clear", "/proxy/v1/cache-clear"] {
        public.get("secret/data/canary-other").await;
        let answer = public.send(&Call::new("POST", "").target(target).json(&all)).await;
        assert!(answer.status >= 300, "{target}: {answer:?}");
        hit(&public, "secret/data/canary-other", "canary-written").await;
    }
}

#[tokio::test]
async fn it_starts_without_the_upstream_and_says_so() {
    let nobody = format!("http://127.0.0.1:{}", crate::bao::free_port());
    let vaultlet = Vaultlet::start(&nobody, json!({"upstream": {"timeout": "2s"}})).await;

    vaultlet.admin().send(&at("/livez")).await.expect(200);
    vaultlet.client().token("any").get("secret/data/x").await.expect_own_error(&[502, 503, 504]);
    assert!(vaultlet.metric("vaultlet_upstream_up", &[]).await < 0.5);
}
