use std::os::unix::fs::symlink;

use super::*;

fn result() -> Measured {
    Measured { version: VERSION, machine: "a".to_owned(), ..Measured::default() }
}

#[test]
fn what_is_written_is_read_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("result.json");
    fs::write(&path, "before").expect("written");
    result().write(&path).expect("written");
    assert_eq!(Measured::read(&path), Ok(result()));
    let names = fs::read_dir(directory.path()).expect("a directory").count();
    assert_eq!(names, 1, "nothing is left beside it");
}

#[test]
fn a_link_stays_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, link) = (directory.path().join("real"), directory.path().join("link"));
    fs::write(&path, "before").expect("written");
    symlink(&path, &link).expect("linked");
    replace(&link, b"after").expect("written");
    assert!(link.is_symlink());
    assert_eq!(fs::read(&path).expect("there"), b"after");
}

#[test]
fn what_cannot_be_written_says_so_and_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let nowhere = directory.path().join("missing/result.json");
    let problem = result().write(&nowhere).expect_err("no such directory");
    assert!(
        problem.starts_with(&format!("{}: cannot be written: No such", nowhere.display())),
        "{problem}"
    );
    assert!(problem.contains("name a file in a directory that exists"), "{problem}");
    let problem = result().write(directory.path()).expect_err("a directory");
    assert!(problem.contains("cannot be written: Is a directory"), "{problem}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_says_so() {
    let problem = result().write(Path::new("/dev/full")).expect_err("full");
    assert!(
        problem.starts_with("/dev/full: cannot be written: No space left on device"),
        "{problem}"
    );
}

#[test]
fn what_is_no_result_of_this_version_is_not_read() {
    let wrong = |json: &str| Measured::of_json(json.as_bytes()).expect_err(json);
    assert!(
        wrong("{\"version\": 2}")
            .starts_with("a result of version 2, and this program reads version 1")
    );
    assert!(
        wrong("{\"version\": 1}").starts_with("not a result of vaultlet-loadtest: missing field")
    );
    assert!(wrong("[1, 2]").starts_with("not a result of vaultlet-loadtest: "));
    let nowhere = Measured::read(Path::new("/nonexistent")).expect_err("nowhere");
    assert!(nowhere.starts_with("/nonexistent: cannot be read: No such file"), "{nowhere}");
}

#[test]
fn the_committed_schema_is_the_one_of_the_types() {
    assert_eq!(
        include_str!("../../../result.schema.json"),
        schema(),
        "write it anew: vaultlet-loadtest report --schema > loadtest/result.schema.json"
    );
}
