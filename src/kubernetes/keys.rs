//! With which keys does a cluster sign?
//!
//! The key decides which algorithms may be used with it, never the token: a public key is no HMAC
//! secret, and `none` is no algorithm. A key id finds a key in a map and does nothing else.

use std::collections::HashMap;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;
use serde_json::Value;

use crate::error::BoxError;

/// Keys of one set that are looked at; clusters have one to four.
const MOST_KEYS: usize = 64;

/// A modulus of 2048 bits in base64url; less is refused.
const SHORTEST_MODULUS: usize = 342;

/// One cluster's keys by their ids.
#[derive(Debug)]
pub struct KeySet(HashMap<String, Key>);

#[derive(Debug)]
struct Key {
    key: DecodingKey,
    algorithms: Vec<Algorithm>,
}

/// RFC 7517, 5. Each key is read by itself, so that one of an unknown kind harms nobody.
#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a JSON Web Key Set; keys that cannot sign a service-account token are left out.
    ///
    /// # Errors
    /// It is not one, or holds no usable key.
    pub fn parse(json: &[u8]) -> Result<Self, BoxError> {
        let Set { keys } = serde_json::from_slice(json)
            .map_err(|error| format!("this is no JSON Web Key Set: {error}"))?;
        let mut set = HashMap::new();
        for (id, key) in keys.into_iter().take(MOST_KEYS).filter_map(Key::read) {
            set.entry(id).or_insert(key);
        }
        if set.is_empty() {
            return Err("the JSON Web Key Set holds no RSA, EC or Ed25519 key with a key id".into());
        }
        Ok(Self(set))
    }

    /// Whether there is a key with this id.
    pub fn has(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// How many keys there are; never none.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether `signature` is this key's under `signed`, by an algorithm that the key allows.
    pub fn verify(&self, id: &str, algorithm: &str, signed: &[u8], signature: &str) -> bool {
        let Some(Key { key, algorithms }) = self.0.get(id) else { return false };
        let Ok(algorithm) = algorithm.parse::<Algorithm>() else { return false };
        algorithms.contains(&algorithm)
            && crypto::verify(signature, signed, key, algorithm).unwrap_or(false)
    }
}

impl Key {
    fn read(json: Value) -> Option<(String, Self)> {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let jwk: Jwk = serde_json::from_value(json).ok()?;
        let mut algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) if rsa.n.len() >= SHORTEST_MODULUS => {
                vec![RS256, RS384, RS512, PS256, PS384, PS512]
            }
            AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
                EllipticCurve::P256 => vec![ES256],
                EllipticCurve::P384 => vec![ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                vec![EdDSA]
            }
            _ => return None,
        };
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        if let Some(only) = jwk.common.key_algorithm {
            algorithms.retain(|algorithm| only == (*algorithm).into());
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let id = jwk.common.key_id.filter(|id| !id.is_empty())?;
        (!algorithms.is_empty()).then_some((id, Self { key, algorithms }))
    }
}
