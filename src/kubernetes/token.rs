//! Is this a JSON Web Token at all? Its parts, read strictly and believed by nobody yet.
//!
//! What a stranger sends is bounded before it is parsed (golang-jwt's CVE-2025-30204: a megabyte of
//! dots), and a claim of the wrong type is a refusal, never an absent claim (jsonwebtoken's
//! CVE-2026-25537). The header chooses nothing but a key by its id: it names no address, brings no
//! key of its own and no extension.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::claims::Claims;

/// Bytes; Kubernetes' own are one to two thousand.
const LONGEST: usize = 8 * 1024;

/// A token taken apart.
pub struct Jwt<'a> {
    /// Who signed it, as it says.
    pub header: Header,
    /// What it says; nothing is checked yet.
    pub claims: Claims,
    /// The bytes under the signature.
    pub signed: &'a [u8],
    /// Encoded as it came.
    pub signature: &'a str,
}

/// RFC 7515, 4.1, as far as Kubernetes writes it. Anything else (an extension that is critical, a
/// key or a key's address) makes it another kind of token, and so does a parameter given twice.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The algorithm of the signature, as it says.
    pub alg: String,
    /// Which key it is under.
    pub kid: String,
    #[serde(default)]
    typ: Option<String>,
}

impl<'a> Jwt<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// It is not one; what is wrong with it, without a value.
    pub fn read(token: &'a [u8]) -> Result<Self, &'static str> {
        if token.len() > LONGEST {
            return Err("the service-account token is longer than 8 KiB");
        }
        let token = str::from_utf8(token).map_err(|_| "the service-account token is not text")?;
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("the service-account token does not have three parts");
        };
        let signed = &token.as_bytes()[..header.len() + 1 + claims.len()];
        let header: Header = json(header)
            .ok_or("the service-account token's header is not one Kubernetes writes")?;
        let claims = json(claims)
            .ok_or("the service-account token's claims are missing, doubled or of a wrong type")?;
        if header.typ.as_ref().is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            return Err("the service-account token's header says that it is something else");
        }
        Ok(Self { header, claims, signed, signature })
    }
}

/// Strict base64url without padding, of an object. serde would also take a list for a struct.
fn json<T: DeserializeOwned>(part: &str) -> Option<T> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    bytes.starts_with(b"{").then(|| serde_json::from_slice(&bytes).ok()).flatten()
}
