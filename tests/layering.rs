//! Holds the source to the map in `docs/architecture.md`: imports point down, files stay short.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Bottom first. A module may import from those before it, never from those after it.
#[rustfmt::skip]
const LAYERS: [&str; 46] = [
    "clock", "error", "config", "flight", "metrics", "policy", "secret",     // leaves
    "telemetry", "tenant", "hardening", "twin",
    "audit", "body", "dial", "sealed", "trust", "watch",                     // plumbing
    "request", "guardrails",                                                 // the question
    "upstream", "identity", "store_key",                                     // Vault
    "kubernetes", "exchange", "badge", "caller",                             // who asks it
    "snapshot",                                                              // may they
    "cache", "kv", "lease",                                                  // answers from memory
    "forward", "route",                                                      // and those passed on
    "proxy",                                                                 // one request
    "handover",                                                              // what outlives it
    "refusals", "witness", "status", "admin", "server", "edge", "takeover",                         // surfaces
    "app", "dev", "explain", "cli", "main",                                             // composition
];

/// Pairs that look upwards on purpose, each with its reason.
#[rustfmt::skip]
const EXCEPTIONS: [(&str, &str); 2] = [
    ("error", "body"),  // the one place where a failure becomes an answer needs the answer's type
    ("cache", "kv"),    // an entry holds what `kv::answer` has read
];

#[test]
fn imports_point_down() {
    for file in sources(Path::new("src")) {
        let module = file.iter().nth(1).unwrap().to_str().unwrap().trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let rank = LAYERS.iter().position(|layer| *layer == module);
        let rank = rank.unwrap_or_else(|| panic!("{module} is not on the map"));
        let text = fs::read_to_string(&file).unwrap();
        for above in &LAYERS[rank + 1..] {
            let imports = text.contains(&format!("crate::{above}::"))
                || text.contains(&format!("use crate::{above};"));
            let excepted = EXCEPTIONS.contains(&(module, above));
            assert!(!imports || excepted, "{} imports {above}, which is above it", file.display());
        }
    }
}

#[test]
fn no_exception_is_left_over() {
    for (module, above) in EXCEPTIONS {
        let needs = |file: &PathBuf| {
            let own = file.iter().nth(1).unwrap().to_str().unwrap().trim_end_matches(".rs");
            own == module
                && fs::read_to_string(file).unwrap().contains(&format!("crate::{above}::"))
        };
        assert!(sources(Path::new("src")).iter().any(needs), "{module} no longer needs {above}");
    }
}

#[test]
fn a_file_can_be_read_in_one_sitting() {
    let files = ["src", "tests", "loadtest/src", "chaos/src", "simulation", "benches", "fuzz"]
        .map(Path::new);
    for file in files.into_iter().flat_map(sources) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 400, "{} has {lines} lines", file.display());
    }
}

#[test]
fn every_module_is_on_the_map() {
    let map = fs::read_to_string("docs/architecture.md").unwrap();
    for file in sources(Path::new("src")) {
        let path = file.to_str().unwrap();
        let tests = file.ends_with("tests.rs") || file.iter().any(|part| part == "tests");
        assert!(tests || map.contains(path), "docs/architecture.md does not name {path}");
    }
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    if directory.ends_with("target") {
        return Vec::new();
    }
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|kind| kind == "rs")).collect()
}
