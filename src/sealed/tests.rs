use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::*;

/// A place for a store and, beside it, its key.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.key_file("key", &[7; 32], 0o600);
        place
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("store")
    }

    fn store(&self) -> PathBuf {
        self.dir().join("store.sealed")
    }

    fn key_file(&self, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
        let file = self.0.path().join(name);
        fs::write(&file, bytes).unwrap();
        chmod(&file, mode);
        file
    }

    fn open(&self) -> Sealed {
        self.open_with("key")
    }

    fn open_with(&self, key: &str) -> Sealed {
        let directory = Directory::open(&self.dir()).unwrap();
        let key = Key::from_file(&self.0.path().join(key), &directory).unwrap();
        Sealed::new(directory, key)
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn key(byte: u8) -> Key {
    Key::from_transit(&[byte; 32], "vault:v1:abc").unwrap()
}

/// About as long as the record of two leases.
fn plaintext() -> Vec<u8> {
    (0..3000_u32).flat_map(u32::to_be_bytes).take(3000).collect()
}

#[test]
fn what_was_written_is_loaded_after_a_restart() {
    let place = Place::new();
    let sealed = place.open();
    assert!(matches!(sealed.load(), Err(Reject::NotThere)));

    sealed.replace(b"one").unwrap();
    sealed.replace(b"hunter2").unwrap();
    drop(sealed);

    assert_eq!(**place.open().load().unwrap(), *b"hunter2");
    let file = fs::read(place.store()).unwrap();
    assert!(!file.windows(7).any(|part| part == b"hunter2"));
    assert_eq!((mode(&place.dir()), mode(&place.store())), (0o700, 0o600));
}

#[test]
fn no_two_files_are_sealed_alike() {
    let (one, other) = (envelope::seal(&key(1), b"same"), envelope::seal(&key(1), b"same"));

    let (one, other) = (one.unwrap(), other.unwrap());
    let same = one.iter().zip(&other).rev().take_while(|(one, other)| one == other).count();

    assert!(same < 4, "{same} bytes of the tag");
}

#[test]
fn of_ten_thousand_altered_files_none_is_loaded() {
    let key = key(1);
    let file = envelope::seal(&key, &plaintext()).unwrap();
    assert_eq!(**unseal(&key, &file).unwrap(), *plaintext());
    let mut random = fastrand::Rng::with_seed(5);

    for _ in 0..10_000 {
        let mut altered = file.clone();
        let bit = random.usize(..8 * file.len());
        altered[bit / 8] ^= 1 << (bit % 8);
        let rejected = unseal(&key, &altered);
        let as_it_should = match bit / 8 {
            0..8 => matches!(rejected, Err(Reject::NotOurs)),
            8 => matches!(rejected, Err(Reject::Version(_))),
            _ => matches!(rejected, Err(Reject::Tampered)),
        };
        assert!(as_it_should, "bit {bit}: {:?}", rejected.err());
    }
    // The header's bits are few, so each has its turn.
    for bit in 0..8 * 100 {
        let mut altered = file.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(unseal(&key, &altered).is_err(), "bit {bit}");
        let _ = envelope::wrapped(&altered);
    }
}

#[test]
fn a_file_cut_anywhere_or_lengthened_is_not_loaded() {
    let key = key(1);
    let file = envelope::seal(&key, &plaintext()).unwrap();

    for length in 0..file.len() {
        assert!(unseal(&key, &file[..length]).is_err(), "{length} bytes");
        let _ = envelope::wrapped(&file[..length]);
    }
    for more in [&b"\0"[..], &file[..16], &file] {
        assert!(matches!(unseal(&key, &[&file, more].concat()), Err(Reject::Tampered)));
    }
}

#[test]
fn parts_of_two_files_make_no_third() {
    let file = |byte, text: &[u8]| envelope::seal(&key(byte), text).unwrap();
    // Of two keys, and of one.
    for (one, other) in [
        (file(1, &plaintext()), file(2, &plaintext())),
        (file(1, &plaintext()), file(1, &vec![0; 3000])),
    ] {
        assert_eq!(one.len(), other.len());
        for at in 1..one.len() {
            let (mixed, back) = ([&one[..at], &other[at..]], [&other[..at], &one[at..]]);
            for mixed in [mixed, back].map(|parts| parts.concat()) {
                if mixed != one && mixed != other {
                    assert!(unseal(&key(1), &mixed).is_err(), "cut at {at}");
                }
            }
        }
        // A swapped block of the content, in its place.
        let block = 200..216;
        let mut mixed = one.clone();
        mixed[block.clone()].copy_from_slice(&other[block]);
        assert!(matches!(unseal(&key(1), &mixed), Err(Reject::Tampered)));
    }
}

#[test]
fn what_another_key_or_version_or_program_wrote_is_told_apart() {
    let place = Place::new();
    place.key_file("other", STANDARD.encode([8; 32]).as_bytes(), 0o400);
    place.open().replace(b"one").unwrap();
    let file = fs::read(place.store()).unwrap();

    assert!(matches!(place.open_with("other").load(), Err(Reject::Tampered)));
    let sealed = place.open();
    for version in [0, 2, 255] {
        fs::write(place.store(), [&file[..8], &[version], &file[9..]].concat()).unwrap();
        assert!(matches!(sealed.load(), Err(Reject::Version(found)) if found == version));
    }
    fs::write(place.store(), b"{}").unwrap();
    assert!(matches!(sealed.load(), Err(Reject::NotOurs)));
    fs::write(place.store(), b"").unwrap();
    assert!(matches!(sealed.load(), Err(Reject::NotOurs)));
    // It is replaced all the same.
    sealed.replace(b"two").unwrap();
    assert_eq!(**sealed.load().unwrap(), *b"two");
}

#[test]
fn a_crash_before_the_rename_leaves_what_was_there() {
    let place = Place::new();
    place.open().replace(b"one").unwrap();
    let file = fs::read(place.store()).unwrap();
    let next = place.dir().join("store.sealed.next");

    for left in [&file[..], &file[..20], b""] {
        fs::write(&next, left).unwrap();
        let sealed = place.open();

        assert_eq!(**sealed.load().unwrap(), *b"one");
        assert!(!next.exists());
    }
}

#[test]
fn a_write_that_fails_leaves_what_was_there_and_nothing_else() {
    let place = Place::new();
    let sealed = place.open();
    sealed.replace(b"one").unwrap();
    // In the place of the next file, what can neither be written nor removed as one.
    let next = place.dir().join("store.sealed.next");
    fs::create_dir(&next).unwrap();

    assert!(sealed.replace(b"two").is_err());
    assert_eq!(**sealed.load().unwrap(), *b"one");
    fs::remove_dir(&next).unwrap();
    sealed.replace(b"three").unwrap();
    assert_eq!(**sealed.load().unwrap(), *b"three");
    let names = fs::read_dir(place.dir()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, ["lock", "store.sealed"]);
}

#[test]
fn a_store_that_others_can_read_is_not_believed() {
    let place = Place::new();
    let sealed = place.open();
    sealed.replace(b"one").unwrap();

    for wrong in [0o640, 0o604, 0o666, 0o700] {
        chmod(&place.store(), wrong);
        assert!(matches!(sealed.load(), Err(Reject::Permissions(_))), "{wrong:o}");
    }
    chmod(&place.store(), 0o400);
    assert!(sealed.load().is_ok());

    let elsewhere = place.0.path().join("elsewhere");
    fs::rename(place.store(), &elsewhere).unwrap();
    symlink(&elsewhere, place.store()).unwrap();
    assert!(matches!(sealed.load(), Err(Reject::Permissions("is a symlink"))));
    fs::remove_file(place.store()).unwrap();
    fs::create_dir(place.store()).unwrap();
    assert!(matches!(sealed.load(), Err(Reject::Permissions("is not a file"))));
}

#[test]
fn a_directory_for_everybody_is_refused() {
    let place = Place::new();
    fs::create_dir(place.dir()).unwrap();
    chmod(&place.dir(), 0o777);

    let problem = Directory::open(&place.dir()).unwrap_err();

    assert!(matches!(problem, Problem::Open { .. }), "{problem}");
    fs::remove_dir(place.dir()).unwrap();
    fs::write(place.dir(), b"a file").unwrap();
    let problem = Directory::open(&place.dir()).unwrap_err();
    assert!(matches!(problem, Problem::Directory { .. }), "{problem}");
}

#[test]
fn a_key_that_is_not_well_kept_is_refused() {
    let place = Place::new();
    let directory = Directory::open(&place.dir()).unwrap();
    let refused = |file: &Path| Key::from_file(file, &directory).unwrap_err().to_string();

    let inside = place.dir().join("store.key");
    fs::write(&inside, [7; 32]).unwrap();
    chmod(&inside, 0o600);
    assert!(refused(&inside).contains("it lies in cache.leases.store.dir"));
    let linked = place.0.path().join("linked");
    symlink(&inside, &linked).unwrap();
    assert!(refused(&linked).contains("it lies in cache.leases.store.dir"));
    for mode in [0o640, 0o604, 0o644] {
        let file = place.key_file("open", &[7; 32], mode);
        assert!(refused(&file).contains("chmod 600"), "{mode:o}");
    }
    let file = place.key_file("short", &[7; 31], 0o600);
    assert!(refused(&file).contains("openssl rand -base64 32"));
    assert!(refused(&place.0.path().join("none")).contains("No such file"));
}

#[test]
fn a_directory_is_for_one_at_a_time() {
    let place = Place::new();
    let first = place.open();

    let problem = Directory::open(&place.dir()).unwrap_err();
    assert!(matches!(problem, Problem::Locked { .. }), "{problem}");
    drop(first);
    place.open();
}

/// Its other half is itself, in another process.
#[test]
fn another_process_is_refused() {
    const NAME: &str = "VAULTLET_TEST_STORE";
    if let Ok(dir) = std::env::var(NAME) {
        let locked = matches!(Directory::open(Path::new(&dir)), Err(Problem::Locked { .. }));
        std::process::exit(if locked { 42 } else { 43 });
    }
    let place = Place::new();
    let other = || {
        let mut other = Command::new(std::env::current_exe().unwrap());
        other.args(["--exact", "sealed::tests::another_process_is_refused", "--nocapture"]);
        other.env(NAME, place.dir()).output().unwrap().status.code()
    };

    let sealed = place.open();
    assert_eq!(other(), Some(42));
    drop(sealed);
    assert_eq!(other(), Some(43));
}

#[test]
fn the_wrapped_key_is_in_the_header() {
    let place = Place::new();
    let directory = || Directory::open(&place.dir()).unwrap();
    assert_eq!(directory().wrapped_key().unwrap(), None);

    Sealed::new(directory(), key(1)).replace(b"one").unwrap();
    assert_eq!(directory().wrapped_key().unwrap().as_deref(), Some("vault:v1:abc"));
    assert!(Sealed::new(directory(), key(1)).load().is_ok());

    place.open().replace(b"one").unwrap();
    assert_eq!(directory().wrapped_key().unwrap(), None);
    fs::write(place.store(), b"vlt-seal").unwrap();
    assert!(matches!(directory().wrapped_key(), Err(Reject::Tampered)));
}

#[test]
fn nothing_shows_a_key() {
    let place = Place::new();

    let shown = format!("{:?}", place.open());

    assert!(shown.contains("Key(..)") && !shown.contains("[7"), "{shown}");
}
