//! Is every configuration read, or refused in words that hold nothing of it that may be a secret?
//!
//! The input is a file. The line that is put behind it is an unknown key, whatever comes before.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vaultlet::config::{Config, Source};

const SECRET: &str = "s.canary0815";

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    // In memory where there is such a place: it is written for each input.
    let memory = PathBuf::from("/dev/shm");
    let directory = if memory.is_dir() { memory } else { std::env::temp_dir() };
    directory.join(format!("vaultlet-fuzz-{}.yaml", std::process::id()))
});

fuzz_target!(|text: &[u8]| {
    match load(text) {
        Ok(config) => {
            assert!(!config.upstream.addresses.is_empty() && !config.listeners.is_empty());
            assert!(config.auth.kubernetes.iter().all(|cluster| !cluster.audiences.is_empty()));
            assert!(load(text).is_ok_and(|again| again == config), "read twice, it differs");
        }
        Err(said) => assert!(!said.trim().is_empty(), "refused without a word"),
    }
    let unknown = [text, b"\nnobody_knows_this: ", SECRET.as_bytes(), b"\n"].concat();
    let said = load(&unknown).expect_err("an unknown key was taken");
    assert!(!said.contains(SECRET), "{said}");
});

fn load(text: &[u8]) -> Result<Config, String> {
    std::fs::write(&*FILE, text).expect("the file can be written");
    let source = Source { file: Some(FILE.clone()), ..Source::default() };
    source.load().map_err(|problems| problems.to_string())
}
