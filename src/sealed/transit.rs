//! What is said to the upstream's Transit engine, and what it says.
//!
//! The store's key is a data key (OpenBao `internal/builtin/logical/transit/path_datakey.go`): made
//! once by the engine, kept wrapped in the header of the file, and unwrapped by the engine at each
//! start (`path_decrypt.go`).

use serde::Deserialize;
use serde_json::json;

use super::{Hidden, Key};

/// Body of `POST <mount>/datakey/plaintext/<key>`.
pub const NEW_KEY: &str = r#"{"bits":256}"#;

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    plaintext: Hidden,
    #[serde(default)]
    ciphertext: Option<String>,
}

/// Body of `POST <mount>/decrypt/<key>`.
pub fn unwrap_key(wrapped: &str) -> String {
    json!({ "ciphertext": wrapped }).to_string()
}

/// The key in an answer to [`NEW_KEY`]; `None`: there is none.
pub fn new_key(body: &[u8]) -> Option<Key> {
    let Answer { data } = serde_json::from_slice(body).ok()?;
    Key::from_transit(data.plaintext.expose(), &data.ciphertext?)
}

/// The key in an answer to [`unwrap_key`] of `wrapped`; `None`: there is none.
pub fn unwrapped_key(body: &[u8], wrapped: &str) -> Option<Key> {
    let Answer { data } = serde_json::from_slice(body).ok()?;
    Key::from_transit(data.plaintext.expose(), wrapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_wrapped_and_unwrapped() {
        let made = br#"{"request_id":"1","data":{"key_version":1,"ciphertext":"vault:v1:abc","plaintext":"rbTjXmEow7lSjUhA+n5gqv29zTGmjvcPoZuyCUJoyoA="}}"#;
        let unwrapped = br#"{"request_id":"2","data":{"plaintext":"rbTjXmEow7lSjUhA+n5gqv29zTGmjvcPoZuyCUJoyoA="}}"#;

        let made = new_key(made).unwrap();
        let again = unwrapped_key(unwrapped, "vault:v1:abc").unwrap();

        assert_eq!(made.expose(), again.expose());
        assert_eq!(made.wrapped(), again.wrapped());
        assert_eq!(unwrap_key("vault:v1:abc"), r#"{"ciphertext":"vault:v1:abc"}"#);
    }

    #[test]
    fn what_holds_no_key_is_none() {
        for odd in [
            &br#"{"data":{"plaintext":"c2hvcnQ=","ciphertext":"vault:v1:abc"}}"#[..],
            br#"{"data":{"plaintext":"rbTjXmEow7lSjUhA+n5gqv29zTGmjvcPoZuyCUJoyoA="}}"#,
            br#"{"errors":["permission denied"]}"#,
            b"",
        ] {
            assert!(new_key(odd).is_none());
        }
    }
}
