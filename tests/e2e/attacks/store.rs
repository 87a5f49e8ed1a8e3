//! K12: a sealed store that is not what was written. It is believed to the last bit, or not at all.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;

use super::scene::{Audit, DB, VALUE, pods};
use super::{Tally, read};
use crate::cluster::Cluster;
use crate::vaultlet::Vaultlet;
use crate::world::reads;

const CLASS: &str = "k12_store";
const COLD: &str = "the sealed store is not used: starting cold";
const WARM: &str = "went on with what was stored";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    name: String,
    r#do: Vec<Edit>,
    /// What the log says; nothing of a store that is not there.
    cold: Option<String>,
    #[serde(default)]
    believed: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Edit {
    Append(String),
    /// What is being written when the process dies.
    Beside(String),
    Copy,
    Flip(i64),
    /// What another process has sealed with its own key.
    Foreign,
    /// So many bytes; below 0, all but so many.
    Keep(i64),
    Link,
    /// In octal.
    Mode(u32),
    Remove,
    Replace(String),
    Set([i64; 2]),
    /// So many bytes of another process's file before the rest of this one.
    Splice(usize),
}

/// A store, and what was in it when the process ended.
struct Place {
    home: TempDir,
    pristine: Vec<u8>,
    foreign: Vec<u8>,
}

impl Place {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let key: Vec<u8> = (0..32).map(|_| fastrand::u8(..)).collect();
        let file = home.path().join("store.key");
        fs::write(&file, key).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        Self { home, pristine: Vec::new(), foreign: Vec::new() }
    }

    fn settings(&self) -> serde_json::Value {
        let (dir, key) = (self.home.path().join("store"), self.home.path().join("store.key"));
        json!({"cache": {"leases": {"store": {"dir": dir, "key_file": key}}}})
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("store/store.sealed")
    }

    /// As it was when the process ended, and then not.
    fn damage(&self, edits: &[Edit]) {
        let file = self.file();
        let _ = fs::remove_file(&file);
        write(&file, &self.pristine);
        for edit in edits {
            self.edit(&file, edit);
        }
    }

    fn edit(&self, file: &Path, edit: &Edit) {
        let mut bytes = fs::read(file).unwrap();
        let at = |offset: i64| {
            let from_end = bytes.len() - usize::try_from(-offset.min(0)).unwrap();
            usize::try_from(offset).unwrap_or(from_end)
        };
        match edit {
            Edit::Append(text) => bytes.extend(text.as_bytes()),
            Edit::Beside(text) => {
                return write(&file.with_extension("sealed.next"), text.as_bytes());
            }
            Edit::Copy => fs::remove_file(file).unwrap(),
            Edit::Flip(offset) => {
                let at = at(*offset);
                bytes[at] ^= 1;
            }
            Edit::Foreign => bytes.clone_from(&self.foreign),
            Edit::Keep(count) => bytes.truncate(at(*count)),
            Edit::Link => {
                let elsewhere = self.home.path().join("elsewhere");
                let _ = fs::remove_file(&elsewhere);
                fs::rename(file, &elsewhere).unwrap();
                return symlink(elsewhere, file).unwrap();
            }
            Edit::Mode(digits) => {
                let mode = u32::from_str_radix(&digits.to_string(), 8).unwrap();
                return fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
            }
            Edit::Remove => return fs::remove_file(file).unwrap(),
            Edit::Replace(text) => text.as_bytes().clone_into(&mut bytes),
            Edit::Set([offset, byte]) => {
                let at = at(*offset);
                bytes[at] = u8::try_from(*byte).unwrap();
            }
            Edit::Splice(header) => {
                bytes.splice(..header, self.foreign[..*header].to_vec()).for_each(drop);
            }
        }
        write(file, &bytes);
    }
}

fn write(file: &Path, bytes: &[u8]) {
    fs::write(file, bytes).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

/// What `vaultlet` gives an application for this token.
async fn badge(vaultlet: &Vaultlet, jwt: &str) -> String {
    let login = json!({"role": "payments-api", "jwt": jwt});
    let login = vaultlet.client().post("auth/jwt/login", login).await.expect(200).json();
    login["auth"]["client_token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k12_store() {
    let (cluster, audit, mut place) = (Cluster::start().await, Audit::new(), Place::new());
    let jwt = cluster.token("payments", "api", "api-1");
    let other = Place::new();
    let (_other_bao, mut foreign) = pods(&cluster, other.settings()).await;
    badge(&foreign, &jwt).await;
    foreign.terminate().await;
    place.foreign = fs::read(other.file()).unwrap();

    let (bao, mut vaultlet) = pods(&cluster, audit.settings(place.settings())).await;
    let badge = badge(&vaultlet, &jwt).await;
    reads(&vaultlet.client().token(&badge).get(DB).await, VALUE);
    // The token stands for something here only.
    crate::client::Client::tcp(&bao.address()).token(&badge).get(DB).await.expect(403);
    vaultlet.terminate().await;
    place.pristine = fs::read(place.file()).unwrap();

    let (mut tally, mut faults) = (Tally::default(), Vec::new());
    for input in read::<Input>(CLASS) {
        tally.spellings += 1;
        tally.accepted += usize::from(input.believed);
        tally.refused += usize::from(!input.believed);
        place.damage(&input.r#do);
        vaultlet.start_again().await;
        let cold = vaultlet.events(COLD);
        let cold = cold.first().map_or("", |event| event["reject"].as_str().unwrap());
        let warm = !vaultlet.events(WARM).is_empty();
        let answer = vaultlet.client().token(&badge).get(DB).await;
        let fits = match &input.cold {
            Some(why) => cold.contains(why) && cold.is_empty() == why.is_empty(),
            None => cold.is_empty(),
        };
        let served = answer.value().as_deref() == Some(VALUE);
        if !fits || warm != input.believed || served != input.believed {
            faults.push(format!("{}: {cold:?}, warm: {warm}, {answer:?}", input.name));
        }
        // Whatever was in the file, whoever may ask anew is answered.
        reads(&vaultlet.client().token(&jwt).get(DB).await, VALUE);
        faults.extend(audit.traces(&vaultlet, &[&badge, &jwt]).await);
        vaultlet.terminate().await;
    }
    tally.judge(CLASS, &faults);
}
