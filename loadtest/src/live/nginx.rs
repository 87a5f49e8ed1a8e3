//! How is nginx started on a node, as somebody would who wants a cache in front of Vault and has
//! nothing else?

use std::process::Command;

use rustix::process::{Signal, geteuid};

use super::edge::Edge;
use super::openbao::OpenBao;
use super::server::Spec;
use super::{Ground, ground};

/// `proxy_cache` of KV reads, keyed on who asks, in which namespace, and for what; the rest is
/// passed on.
///
/// That key is the most that nginx can tell apart, and it is no substitute for asking: whoever has
/// read an answer gets it again for `proxy_cache_valid` after the token was revoked, the policy
/// changed, or the secret was written or deleted; two callers never share one; and the answers lie
/// on disk, readable, until the cache is full. It is measured for what it costs, and not
/// recommended.
pub(super) fn spec(ground: &Ground, edge: &Edge, upstream: &OpenBao) -> Result<Spec, String> {
    let home = ground::directory()?;
    let at = edge.place()?;
    let file = home.path().join("nginx.conf");
    let config = config(&edge.nginx(&at), &upstream.authority());
    std::fs::write(&file, config).map_err(|e| format!("{}: {e}", file.display()))?;
    let program = ground.places().nginx.clone().unwrap_or_else(|| "nginx".into());
    let directory = home.path().to_owned();
    let command = Box::new(move || {
        let mut command = Command::new(&program);
        command.arg("-p").arg(&directory).arg("-c").arg(&file).args(["-e", "stderr"]);
        command.env_clear().current_dir(&directory);
        command
    });
    let kept = Some("cache");
    Ok(Spec { name: "nginx", command, at, home, ending: Signal::TERM, kept })
}

fn config(listener: &str, upstream: &str) -> String {
    // Its workers are somebody else where it is root's, who may not look into our directory.
    let user = if geteuid().is_root() { "user root root;\n" } else { "" };
    format!(
        r#"{user}daemon off;
worker_processes 1;
error_log stderr error;
pid nginx.pid;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  large_client_header_buffers 8 32k;
  client_max_body_size 64m;
  client_body_temp_path body;
  proxy_temp_path passed;
  proxy_cache_path cache levels=1:2 keys_zone=answers:64m max_size=4g inactive=1h use_temp_path=off;
  open_file_cache max=100000 inactive=1h;
  upstream vault {{ server {upstream}; keepalive 256; }}
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  server {{
    {listener}
    location ~ ^/v1/kv[12]/ {{
      proxy_cache answers;
      proxy_cache_key "$http_x_vault_token $http_authorization $http_x_vault_namespace $request_uri";
      proxy_cache_valid 200 60s;
      proxy_cache_lock on;
      # OpenBao says no-store, which is right.
      proxy_ignore_headers Cache-Control Expires Vary;
      add_header X-Cache $upstream_cache_status;
      proxy_pass http://vault;
    }}
    location / {{ proxy_pass http://vault; }}
  }}
}}
"#
    )
}
