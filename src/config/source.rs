//! Where the configuration comes from: a file, the command line, the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Config;
use super::document;
use super::overlay;
use super::problem::{Origin, Problems, Report};
use super::reader::{Context, Field};
use super::sections;
use super::tree::{Node, Value};

/// Keys that the interface promises and this version does not have.
const LATER: [&str; 1] = ["feed"];

/// Variables of the `vault` and `bao` commands, without `VAULT_` and `BAO_`, and our keys.
const TWINS: [(&str, &str); 5] = [
    ("ADDR", "upstream.address"),
    ("NAMESPACE", "upstream.namespace"),
    ("CACERT", "upstream.ca_file"),
    ("TLS_SERVER_NAME", "upstream.tls_server_name"),
    ("SKIP_VERIFY", "upstream.tls_skip_verify"),
];

/// What may be given whole: `VAULTLET_LISTENERS='[{unix: /run/vaultlet.sock}]'`. Other variables
/// without `__` are not ours: Kubernetes sets `VAULTLET_PORT` for a service of our name.
const SECTIONS: [&str; 9] =
    ["admin", "audit", "auth", "cache", "listeners", "log", "policy", "shutdown", "upstream"];

/// No key is deeper: `auth.kubernetes.0.login.rules.0.choose.0` has eight names.
const DEEPEST: usize = 8;

/// Where a configuration comes from. Kept, and loaded again on SIGHUP.
///
/// Each of these wins over those after it: `--set`, `VAULTLET_A__B__C`, the file, the variables of
/// the `vault` and `bao` commands, the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The file; `None`: nothing but the others.
    pub file: Option<PathBuf>,
    /// `a.b.c=VALUE`, the last of a key wins.
    pub sets: Vec<String>,
    /// The environment, as it was at the start.
    pub environment: BTreeMap<String, String>,
}

impl Source {
    /// Reads and checks everything.
    ///
    /// # Errors
    ///
    /// All that is wrong at once; only a file that cannot be read as YAML is reported alone.
    pub fn load(&self) -> Result<Config, Problems> {
        let report = Report::default();
        let mut root = self.document()?;
        self.lay_over(&mut root, &report);
        let directory = self.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let context = Context { report: &report, directory, later: &LATER, first: "upstream" };
        let config = Field::root(&root, &context).section(sections::config);
        report.into_result(config, self.file.clone())
    }

    /// The file as a tree; an empty one without a file.
    fn document(&self) -> Result<Node, Problems> {
        let nothing = || Ok(Node { value: Value::Null, origin: Origin::Default });
        self.file.as_deref().map_or_else(nothing, document::parse)
    }

    /// From the weakest to the strongest.
    fn lay_over(&self, root: &mut Node, report: &Report) {
        self.lay_twins_under(root, report);
        for (name, value) in &self.environment {
            if let Some(key) = key_of(name) {
                lay(root, &key, value, &Origin::Environment(name.clone()), report);
            }
        }
        for set in &self.sets {
            let Some((key, value)) = set.split_once('=') else {
                let hint = "write --set upstream.timeout=30s";
                report.add(&Origin::Flag, "", "expected KEY=VALUE, found no `=`", hint);
                continue;
            };
            lay(root, key, value, &Origin::Flag, report);
        }
    }

    /// Sets what the file leaves open, as the commands of Vault and OpenBao read their environment.
    fn lay_twins_under(&self, root: &mut Node, report: &Report) {
        for (name, key) in TWINS {
            // As `bao` does: a twin that is there wins even if it is empty, and empty means unset.
            let twins = [format!("BAO_{name}"), format!("VAULT_{name}")];
            let found = twins.iter().find_map(|twin| self.environment.get_key_value(twin));
            let Some((name, value)) = found.filter(|(_, value)| !value.is_empty()) else {
                continue;
            };
            let spoken_for =
                key == "upstream.address" && !overlay::free(root, "upstream.addresses");
            if spoken_for || !overlay::free(root, key) {
                continue;
            }
            let origin = Origin::Environment(name.clone());
            let value = match (key, value.as_str()) {
                // Go's strconv.ParseBool.
                ("upstream.tls_skip_verify", "1" | "t" | "T" | "TRUE" | "True") => "true",
                ("upstream.tls_skip_verify", "0" | "f" | "F" | "FALSE" | "False") => "false",
                (_, value) => value,
            };
            overlay::set(root, key, value, &origin, report);
        }
    }
}

fn lay(root: &mut Node, key: &str, value: &str, origin: &Origin, report: &Report) {
    if key.split('.').count() > DEEPEST {
        return report.add(origin, "", "unknown key", "see `vaultlet schema` for the known keys");
    }
    overlay::set(root, key, value, origin, report);
}

/// `VAULTLET_A__B__C` is `a.b.c`.
fn key_of(variable: &str) -> Option<String> {
    let key = variable.strip_prefix("VAULTLET_")?.to_ascii_lowercase().replace("__", ".");
    (key.contains('.') || SECTIONS.contains(&key.as_str())).then_some(key)
}
