//! What one can paste into another terminal while it runs.

use std::net::SocketAddr;
use std::path::Path;

use super::pods::Pods;
use super::samples::{LEGACY, PODS_SECRET, Tokens, USER};
use super::say;

/// What the commands are about.
pub(super) struct Shown<'a> {
    pub(super) front: SocketAddr,
    pub(super) admin: SocketAddr,
    /// The server's program.
    pub(super) program: &'a Path,
    /// The server's process and root token, where it is ours.
    pub(super) own: Option<(u32, &'a str)>,
}

impl Shown<'_> {
    /// Prints them.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub(super) fn print(&self, tokens: &Tokens, pods: Option<&Pods>) -> Result<(), String> {
        say("To try it, in another terminal (Ctrl-C here ends everything):\n")?;
        say(format_args!("export {}_ADDR=http://{}", self.prefix(), self.front))?;
        if let Some(pods) = pods {
            say("\n# Pods, which bring the tokens of their service accounts:")?;
            self.pods(pods)?;
            say("\n# Callers that bring Vault tokens:")?;
        }
        self.callers(tokens)?;
        self.operators()?;
        say("")
    }

    fn pods(&self, pods: &Pods) -> Result<(), String> {
        let Self { front, .. } = self;
        let directory = quoted(&pods.directory().display().to_string());
        let curl = |pod: &Path, rest: &str| {
            let file = pod.file_name().unwrap_or_default().display().to_string();
            let bearer = format!("-H \"Authorization: Bearer $(cat \"$PODS/{file}\")\"");
            format!("curl -si {bearer} http://{front}/v1/{PODS_SECRET}{rest}")
        };
        let [first, second, third] = [&pods.api[0], &pods.api[1], &pods.api[2]];
        say(format_args!("export PODS={directory}"))?;
        say(curl(&first.file, ""))?;
        say(curl(&second.file, "   # another pod: from memory, by the same login"))?;
        say(curl(&pods.shop.file, "   # another team's: 403"))?;
        let write = " -X PATCH -H 'Content-Type: application/merge-patch+json' -d \
                     '{\"data\":{\"password\":\"mine\"}}'   # may write";
        say(curl(&pods.worker.file, write))?;

        let (prefix, bao) = (self.prefix(), self.bao());
        let file = third.file.file_name().unwrap_or_default().display().to_string();
        // As an application does that knows nothing of vaultlet.
        say(format_args!(
            "POD_TOKEN=$({prefix}_TOKEN= {bao} write -field=token auth/{}/login role=payments-api \
             jwt=@\"$PODS/{file}\")   # answered by vaultlet",
            pods.mount
        ))?;
        let secret = PODS_SECRET.replacen("/data/", "/", 1);
        say(format_args!("{prefix}_TOKEN=$POD_TOKEN {bao} kv get {secret}"))
    }

    fn callers(&self, tokens: &Tokens) -> Result<(), String> {
        let (prefix, bao, front) = (self.prefix(), self.bao(), self.front);
        let [pod_a, pod_b] = [&tokens.pods[0], &tokens.pods[1]].map(|token| token.as_str());
        let (writer, intern) = (tokens.writer.as_str(), tokens.intern.as_str());
        let kv = |token: &str, rest: &str| self.kv(token, rest);
        say(kv(pod_a, "get secret/payments/db"))?;
        say(format_args!("{}   # from memory", kv(pod_b, "get secret/payments/db")))?;
        say(format_args!("{}   # 403", kv(intern, "get secret/payments/db")))?;
        say(kv(writer, "patch secret/payments/db password=mine"))?;
        say(kv(pod_a, &format!("get {LEGACY}")))?;
        say(format_args!(
            "curl -si -H 'X-Vault-Token: {pod_b}' http://{front}/v1/secret/data/payments/db"
        ))?;
        if let Some(password) = tokens.user {
            say(format_args!(
                "{prefix}_TOKEN= {bao} login -no-store -method=userpass username={USER} \
                 password={password}"
            ))?;
        }
        Ok(())
    }

    fn operators(&self) -> Result<(), String> {
        let Self { admin, own, .. } = self;
        say("\n# Those who run it:")?;
        let vaultlet = std::env::current_exe().unwrap_or_else(|_| "vaultlet".into());
        let vaultlet = quoted(&vaultlet.display().to_string());
        say(format_args!("{vaultlet} status --admin http://{admin}"))?;
        say(format_args!("curl -s http://{admin}/metrics | grep vaultlet_requests_total"))?;
        if let Some((pid, root)) = own {
            say(self.kv(root, "put secret/payments/new password=any   # may do all"))?;
            say(format_args!("kill {pid}   # the server; what was read goes on being answered"))?;
        }
        Ok(())
    }

    fn kv(&self, token: &str, rest: &str) -> String {
        format!("{}_TOKEN={token} {} kv {rest}", self.prefix(), self.bao())
    }

    fn bao(&self) -> String {
        quoted(&self.program.display().to_string())
    }

    /// The `vault` command reads other variables.
    fn prefix(&self) -> &'static str {
        if self.program.ends_with("vault") { "VAULT" } else { "BAO" }
    }
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
