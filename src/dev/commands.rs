//! What one can paste into another terminal while it runs.

use std::net::SocketAddr;
use std::path::Path;

use super::samples::{LEGACY, Tokens, USER};
use super::say;

/// Prints them. `program`: the server's; `own`: its process and root token, where it is ours.
pub(super) fn print(
    front: SocketAddr,
    admin: SocketAddr,
    tokens: &Tokens,
    program: &Path,
    own: Option<(u32, &str)>,
) -> Result<(), String> {
    let bao = quoted(&program.display().to_string());
    // The `vault` command reads other variables.
    let prefix = if program.ends_with("vault") { "VAULT" } else { "BAO" };
    let [pod_a, pod_b] = [&tokens.pods[0], &tokens.pods[1]].map(|token| token.as_str());
    let (writer, intern) = (tokens.writer.as_str(), tokens.intern.as_str());
    let kv = |token: &str, rest: &str| format!("{prefix}_TOKEN={token} {bao} kv {rest}");

    say("To try it, in another terminal (Ctrl-C here ends everything):\n")?;
    say(format_args!("export {prefix}_ADDR=http://{front}"))?;
    say(format_args!("{}", kv(pod_a, "get secret/payments/db")))?;
    say(format_args!("{}   # from memory", kv(pod_b, "get secret/payments/db")))?;
    say(format_args!("{}   # 403", kv(intern, "get secret/payments/db")))?;
    say(format_args!("{}", kv(writer, "patch secret/payments/db password=mine")))?;
    say(format_args!("{}", kv(pod_a, &format!("get {LEGACY}"))))?;
    say(format_args!(
        "curl -si -H 'X-Vault-Token: {pod_b}' http://{front}/v1/secret/data/payments/db"
    ))?;
    if let Some(password) = tokens.user {
        say(format_args!(
            "{prefix}_TOKEN= {bao} login -no-store -method=userpass username={USER} \
             password={password}"
        ))?;
    }
    say(format_args!("curl -s http://{admin}/metrics | grep vaultlet_requests_total"))?;
    if let Some((pid, root)) = own {
        say(format_args!("{}", kv(root, "put secret/payments/new password=any   # may do all")))?;
        say(format_args!("kill {pid}   # the server; what has been read goes on being answered"))?;
    }
    say("")
}

/// For a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_quoted_word_as_it_was() {
        assert_eq!(quoted("/opt/open-bao_2.7/bao"), "/opt/open-bao_2.7/bao");
        assert_eq!(quoted("/opt/o'neill/my bao"), r"'/opt/o'\''neill/my bao'");
        assert_eq!(quoted("$(x)"), "'$(x)'");
    }
}
