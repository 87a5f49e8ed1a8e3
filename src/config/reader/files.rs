//! Paths, and what must be at them.

use std::path::{Path, PathBuf};

use super::Field;
use crate::config::Origin;

impl Field<'_> {
    /// A path; in the file, relative to the file.
    pub fn path(&self) -> Option<PathBuf> {
        let text = self.text()?;
        if text.is_empty() || text.contains('\0') {
            self.complain("expected a path, found nothing", "name a file, or remove the key");
            return None;
        }
        if is_secret(text) {
            let what = "expected a path, found what looks like a secret";
            self.complain(what, "put it in a file that only this user can read, and name that");
            return None;
        }
        match self.origin {
            Origin::File { .. } => Some(self.context.directory.join(text)),
            _ => Some(PathBuf::from(text)),
        }
    }

    /// A path of a file that can be read.
    pub fn readable_file(&self) -> Option<PathBuf> {
        let path = self.path()?;
        // Not opened unless it is a plain file: opening a pipe would wait for a writer.
        let error = match std::fs::metadata(&path) {
            Ok(data) if data.is_file() => std::fs::File::open(&path).err(),
            Ok(_) => Some(std::io::Error::other("not a file")),
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            let what = format!("{} cannot be read: {error}", path.display());
            self.complain(what, "create the file, let this user read it, or correct the path");
            return None;
        }
        Some(path)
    }

    /// A path at which a file can be made, or is.
    pub fn new_file(&self) -> Option<PathBuf> {
        let path = self.path()?;
        let directory = match path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("."),
        };
        let problem = if !directory.is_dir() {
            (format!("{} is not a directory", directory.display()), "create it")
        } else if path.is_dir() {
            (format!("{} is a directory", path.display()), "name a file in it")
        } else {
            return Some(path);
        };
        self.complain(problem.0, format!("{}, or correct the path", problem.1));
        None
    }

    /// A path at which a directory can be made, or is.
    pub fn directory(&self) -> Option<PathBuf> {
        let path = self.path()?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let wrong = if path.exists() { &path } else { parent };
        if !wrong.is_dir() {
            let what = format!("{} is not a directory", wrong.display());
            self.complain(what, "name one, or a place where one can be made");
            return None;
        }
        Some(path)
    }
}

/// Whether `text` is less likely a path than what should be in the file: a token of Vault or
/// Kubernetes, or a key. Messages show paths.
fn is_secret(text: &str) -> bool {
    let old = |text: &str| text.len() >= 24 && text.bytes().all(|it| it.is_ascii_alphanumeric());
    ["hvs.", "hvb.", "hvr.", "eyJ"].iter().any(|prefix| text.starts_with(prefix))
        || text.strip_prefix("s.").is_some_and(old)
        || text.contains("-----BEGIN")
}
