//! Who is meant by `--as`?

use std::fmt;
use std::path::PathBuf;

use crate::secret::Secret;

/// Longest file that is taken for a token's.
const LONGEST: u64 = 64 * 1024;

/// Somebody who would make a request.
pub enum Who {
    /// Whoever brings this Vault token.
    Token(Secret),
    /// Whoever brings this service-account token.
    Jwt(Secret),
    /// A service account, by its names in Kubernetes.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl Who {
    /// Reads `--as`: `system:serviceaccount:NS:NAME`, a file that holds a token, or a Vault token.
    ///
    /// # Errors
    /// It is none of these; one paragraph for people, without what was given.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(names) = text.strip_prefix("system:serviceaccount:") {
            let split = names.split_once(':').filter(|(namespace, name)| {
                let plain = |it: &str| {
                    let fits = |byte: u8| {
                        byte.is_ascii_lowercase()
                            || byte.is_ascii_digit()
                            || matches!(byte, b'-' | b'.')
                    };
                    !it.is_empty() && it.len() <= 253 && it.bytes().all(fits)
                };
                plain(namespace) && plain(name)
            });
            let wrong = "--as: a service account is system:serviceaccount:NAMESPACE:NAME, both in \
                         lower case as in Kubernetes";
            let (namespace, name) = split.ok_or(wrong)?;
            return Ok(Self::ServiceAccount { namespace: namespace.into(), name: name.into() });
        }
        if ["hvs.", "hvb.", "s.", "b."].iter().any(|prefix| text.starts_with(prefix)) {
            return Ok(Self::Token(Secret::new(text.as_bytes().to_vec())));
        }
        let file = PathBuf::from(text);
        let wrong = |what: &str| {
            format!(
                "--as: {what}; give system:serviceaccount:NAMESPACE:NAME, a file that holds a \
                 service-account token or a Vault token, or a Vault token"
            )
        };
        match std::fs::metadata(&file) {
            Ok(data) if data.is_file() && data.len() <= LONGEST => (),
            Ok(_) => return Err(wrong("not a file of a token's size")),
            Err(_) => return Err(wrong("no such file can be read")),
        }
        let text = std::fs::read(&file).map_err(|_| wrong("the file cannot be read"))?;
        let token = Secret::new(text.trim_ascii().to_vec());
        zeroize::Zeroizing::new(text);
        let shaped = crate::kubernetes::Issuers::shaped(token.expose());
        let plain = |byte: &u8| byte.is_ascii_graphic();
        match token.expose() {
            [] => Err(wrong("the file is empty")),
            bytes if !bytes.iter().all(plain) => Err(wrong("the file holds more than a token")),
            _ if shaped => Ok(Self::Jwt(token)),
            _ => Ok(Self::Token(token)),
        }
    }
}

impl fmt::Debug for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(..)",
            Self::Jwt(_) => "Jwt(..)",
            Self::ServiceAccount { .. } => "ServiceAccount",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_meant_is_told_by_the_form() {
        let home = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = home.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };

        let account = Who::parse("system:serviceaccount:team-a:app").unwrap();
        assert!(matches!(account, Who::ServiceAccount { namespace, name }
            if namespace == "team-a" && name == "app"));
        assert!(matches!(Who::parse("hvs.abc"), Ok(Who::Token(_))));
        assert!(matches!(Who::parse(&file("a", "eyJh.e30.x\n")), Ok(Who::Jwt(_))));
        assert!(matches!(Who::parse(&file("b", "root\n")), Ok(Who::Token(_))));
    }

    #[test]
    fn what_is_none_of_them_is_refused_and_not_repeated() {
        let home = tempfile::tempdir().unwrap();
        let empty = home.path().join("hunter2");
        std::fs::write(&empty, "").unwrap();
        let directory = home.path().display().to_string();

        for wrong in [
            "",
            "hunter2",
            "eyJhbGciOiJub25lIn0.hunter2.x",
            "system:serviceaccount:",
            "system:serviceaccount:hunter2",
            "system:serviceaccount:a:b:hunter2",
            "system:serviceaccount:HUNTER2:x",
            "system:serviceaccount:a/b:c",
            "system:serviceaccount::c",
            &empty.display().to_string(),
            &directory,
        ] {
            let error = Who::parse(wrong).unwrap_err();
            assert!(error.starts_with("--as: ") && !error.contains("hunter2"), "{error}");
        }
    }
}
