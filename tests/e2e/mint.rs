//! Tokens as a cluster's API server signs them, and any that it would not. The unit tests and the
//! benchmark make theirs here too.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// A key that tokens are signed with.
pub struct Key {
    pub id: String,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
}

impl Key {
    /// RSA with 2048 bits, as most clusters have.
    pub fn rsa(id: &str) -> Self {
        let pair = Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
        Self { id: id.into(), pair: Pair::Rsa(pair) }
    }

    /// ECDSA on P-256.
    pub fn p256(id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { id: id.into(), pair: Pair::P256(pair) }
    }

    pub fn algorithm(&self) -> &'static str {
        match &self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
        }
    }

    /// The public half, as a JSON Web Key.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let key = pair.public_key();
                json!({
                    "kty": "RSA",
                    "n": encode(key.modulus().big_endian_without_leading_zero()),
                    "e": encode(key.exponent().big_endian_without_leading_zero()),
                })
            }
            Pair::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256",
                    "x": encode(&point[1..33]), "y": encode(&point[33..])})
            }
        };
        jwk["use"] = json!("sig");
        jwk["kid"] = json!(self.id);
        jwk["alg"] = json!(self.algorithm());
        jwk
    }

    /// The header that the API server writes.
    pub fn header(&self) -> Value {
        json!({"alg": self.algorithm(), "kid": self.id})
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    /// A token whose header and claims are these texts. An RSA key obeys a header of `RS384`.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let encoding =
                    if header.contains("RS384") { &RSA_PKCS1_SHA384 } else { &RSA_PKCS1_SHA256 };
                pair.sign(encoding, &random, signed.as_bytes(), &mut signature).unwrap();
                signature
            }
            Pair::P256(pair) => pair.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{signed}.{}", encode(signature))
    }
}

/// A JSON Web Key Set of these keys.
pub fn key_set<'a>(keys: impl IntoIterator<Item = &'a Key>) -> String {
    json!({"keys": keys.into_iter().map(Key::jwk).collect::<Vec<_>>()}).to_string()
}

/// What a token says of the pod `api-1` of the service account `api` in `payments`, for
/// `vaultlet`, from now for `life`.
pub fn claims(issuer: &str, life: Duration) -> Value {
    let now = unix();
    json!({
        "aud": ["vaultlet"],
        "exp": now + life.as_secs(),
        "iat": now,
        "iss": issuer,
        "jti": "6f1ac4a8-94a1-4a7c-8f1e-2a4d9f0f5f11",
        "kubernetes.io": {
            "namespace": "payments",
            "node": {"name": "node-1", "uid": "0fb3d2b4-2f0b-4d0a-9a43-7d0f6a0a9a01"},
            "pod": {"name": "api-1", "uid": "a1f65f4e-3f35-4cbb-a3fd-0e27a5a3f6b2"},
            "serviceaccount": {"name": "api", "uid": "5d9d3cb5-6a9d-4c5e-8b5c-51a7ab6a2b0c"},
            "warnafter": now + 3607,
        },
        "nbf": now,
        "sub": "system:serviceaccount:payments:api",
    })
}

/// Seconds since 1970.
pub fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
