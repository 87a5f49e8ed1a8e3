//! With what does a request show who sends it?

use std::path::Path;

use hyper::header::HeaderValue;
use zeroize::Zeroizing;

/// The token in `file`, or else `variable`, which is what `VAULT_TOKEN` holds; `None` without either.
/// The header is marked, so that `Debug` does not print it.
///
/// # Errors
/// The file cannot be read, or no header can hold what is in it. The token is not part of what is
/// said.
pub(crate) fn token(
    file: Option<&Path>,
    variable: Option<String>,
) -> Result<Option<HeaderValue>, String> {
    let token = match file {
        Some(file) => Some(std::fs::read_to_string(file).map_err(|e| {
            format!("--token-file {}: {e}; name a file that holds a token", file.display())
        })?),
        None => variable,
    };
    let Some(token) = token.map(Zeroizing::new) else { return Ok(None) };
    let mut token = HeaderValue::from_str(token.trim())
        .map_err(|_| "the token holds characters that no header can; is it the right file?")?;
    token.set_sensitive(true);
    Ok(Some(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_wins_over_the_environment_and_neither_is_printed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s.file\n").unwrap();
        let variable = || Some(" s.variable ".to_owned());

        let of = |file| token(file, variable()).unwrap().unwrap();

        assert_eq!(
            (of(Some(file.path())), of(None)),
            (HeaderValue::from_static("s.file"), HeaderValue::from_static("s.variable"),)
        );
        assert!(!format!("{:?}", of(None)).contains("s.variable"));
        assert_eq!(token(None, None).unwrap(), None);
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_told() {
        let refused = token(None, Some("s.sec\nret".to_owned())).unwrap_err();
        let missing = token(Some(Path::new("/nonexistent/it")), None).unwrap_err();

        assert!(refused.contains("no header can") && !refused.contains("sec"), "{refused}");
        assert!(missing.contains("--token-file /nonexistent/it: No such file"), "{missing}");
    }
}
