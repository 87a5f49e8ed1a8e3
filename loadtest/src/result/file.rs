//! How does a result get into a file, whole or not at all, and out of it?

use std::fs;
use std::io::Write as _;
use std::path::Path;

use rustix::fs::{Access, access};
use tempfile::NamedTempFile;

use super::{Result as Measured, VERSION};

impl Measured {
    /// Writes it as JSON: the file is there with all of it, or is as it was.
    pub(crate) fn write(&self, path: &Path) -> Result<(), String> {
        let mut json = serde_json::to_vec_pretty(self).map_err(|problem| {
            format!("{}: cannot be written as JSON: {problem}", path.display())
        })?;
        json.push(b'\n');
        replace(path, &json)
    }

    /// Reads what [`write`](Self::write) wrote.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let json = fs::read(path).map_err(|problem| {
            format!("{}: cannot be read: {problem}; give a file that `--out` wrote", path.display())
        })?;
        Self::of_json(&json).map_err(|problem| format!("{}: {problem}", path.display()))
    }

    fn of_json(json: &[u8]) -> Result<Self, String> {
        let other = |problem: serde_json::Error| {
            format!("not a result of vaultlet-loadtest: {problem}; give a file that `--out` wrote")
        };
        let Version { version } = serde_json::from_slice(json).map_err(other)?;
        if version != VERSION {
            return Err(format!(
                "a result of version {version}, and this program reads version {VERSION}; \
                 read it with the program that wrote it, or measure anew"
            ));
        }
        serde_json::from_slice(json).map_err(other)
    }
}

/// What every version has.
#[derive(serde::Deserialize)]
struct Version {
    version: u32,
}

/// The JSON Schema of results.
pub(crate) fn schema() -> String {
    format!("{:#}\n", schemars::schema_for!(Measured).to_value())
}

/// Whether [`replace`] could write there now; `option` is what named it.
pub(crate) fn writable(option: &str, path: &Path) -> Result<(), String> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let tried = match fs::metadata(&path) {
        Ok(there) if there.is_dir() => Err(std::io::ErrorKind::IsADirectory.into()),
        // Opening a pipe waits for its reader.
        Ok(there) if !there.is_file() => access(&path, Access::WRITE_OK).map_err(Into::into),
        _ => NamedTempFile::new_in(directory_of(&path)).map(drop),
    };
    tried.map_err(|problem| {
        format!(
            "{option} {}: cannot be written: {problem}; nothing was started; \
             name a file in a directory that exists and may be written to",
            path.display()
        )
    })
}

/// Puts `content` in the place of what is at `path`. A link is followed: it stays one.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), String> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let complain = |problem: &std::io::Error| {
        format!(
            "{}: cannot be written: {problem}; nothing there has changed; \
             name a file in a directory that exists, may be written to, and has room",
            path.display()
        )
    };
    if fs::metadata(&path).is_ok_and(|there| !there.is_file()) {
        // A pipe or a device, as `/dev/stdout`: nothing to be renamed over.
        return fs::write(&path, content).map_err(|problem| complain(&problem));
    }
    let beside = || -> std::io::Result<()> {
        let mut file = NamedTempFile::new_in(directory_of(&path))?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        readable(file.path())?;
        file.persist(&path).map(drop).map_err(|failed| failed.error)
    };
    beside().map_err(|problem| complain(&problem))
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// A temporary file is its owner's alone; a report is for whoever may look into the directory.
fn readable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

#[cfg(test)]
mod tests;
