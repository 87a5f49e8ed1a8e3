//! What may be repeated of what other programs said?
//!
//! It ends in reports, which go further than this machine. Servers log no tokens, but a database logs
//! statements that fail, with passwords in them; and whose text it is, is not known beforehand.

use std::path::Path;

/// Tokens, keys, and passwords that OpenBao makes are at least so long.
const LONG: usize = 20;

/// `text` without what might open something, and without the name of `home`, where nothing is left
/// when this is read.
pub(super) fn harmless(text: &str, home: Option<&Path>) -> String {
    let text = match home {
        Some(home) => text.replace(&home.display().to_string(), "."),
        None => text.to_owned(),
    };
    let mut harmless = String::with_capacity(text.len());
    for part in text.split_inclusive(|c| !is_of_a_token(c)) {
        let word = part.trim_end_matches(|c| !is_of_a_token(c));
        // Base64 has slashes as paths do; keys end as these do not.
        let whole = word.ends_with('=').then_some(word).into_iter();
        let pieces = word.split('/').filter(|_| !word.ends_with('='));
        let pieces = whole
            .chain(pieces)
            .map(|piece| if might_open_something(piece) { "[left out]" } else { piece });
        harmless.push_str(&pieces.collect::<Vec<_>>().join("/"));
        harmless.push_str(&part[word.len()..]);
    }
    harmless
}

fn is_of_a_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+/=_-.".contains(c)
}

/// Words of people have no digits.
fn might_open_something(word: &str) -> bool {
    word.len() >= LONG && word.contains(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_might_open_something_is_left_out() {
        for secret in [
            "s.Kx81lVwQ7rZt0YbN3mPdGh2c",
            "hvs.CAESIJ1fQ0w2rN8bT4yKzVxLmPq",
            "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl",
            "A1a-9sKd8fJ2hLq0vBn4",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "kq0vZx3N/1mQpY8sT5rWuE7bHcJdLfGaKoXiVn2M9z4=",
        ] {
            let text = format!("STATEMENT: CREATE ROLE \"x\" PASSWORD '{secret}' VALID");

            let told = harmless(&text, None);

            assert!(told.starts_with("STATEMENT: CREATE ROLE \"x\" PASSWORD '["), "{told}");
            assert!(told.ends_with("' VALID"), "{told}");
            assert!(secret.split('/').all(|part| !told.contains(part)), "{told}");
        }
    }

    #[test]
    fn what_went_wrong_is_kept_and_where_is_not() {
        let text = "2026-11-22T18:00:00.123Z [ERROR] listen tcp 127.0.0.1:8200: bind: address already \
                    in use; /dev/shm/.tmpAb1/data: unauthenticated_metrics_access";

        let told = harmless(text, Some(Path::new("/dev/shm/.tmpAb1")));

        assert_eq!(told, text.replace("/dev/shm/.tmpAb1", "."));
    }
}
