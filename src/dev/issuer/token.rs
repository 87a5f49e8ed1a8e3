//! What does a service account's token say? What Kubernetes writes into one for a pod, signed with
//! a key that lives as long as the process.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::AUDIENCE;

/// A cluster's key: ECDSA on P-256, which vaultlet and OpenBao's `auth/kubernetes` both take.
pub struct Key {
    pair: EcdsaKeyPair,
    /// As the API server names its keys: by a digest of the public half.
    id: String,
}

impl Key {
    /// A new one.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new() -> Result<Self, String> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|_| "no key can be made: the system has no random numbers to give")?;
        let id = URL_SAFE_NO_PAD.encode(digest(&SHA256, pair.public_key().as_ref()));
        Ok(Self { pair, id })
    }

    /// The public half, as a JSON Web Key Set (RFC 7517).
    pub fn published(&self) -> Value {
        // Uncompressed (SEC 1, 2.3.3): a four, then both coordinates.
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        let key = json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": x, "y": y,
        });
        json!({ "keys": [key] })
    }

    /// The public half, as OpenBao takes it.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn pem(&self) -> Result<String, String> {
        let der: PublicKeyX509Der<'_> =
            self.pair.public_key().as_der().map_err(|_| "the issuer's key cannot be written")?;
        let body = STANDARD.encode(der.as_ref());
        Ok(format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"))
    }

    /// The uid of an object in this cluster: the same whenever it is asked for.
    fn uid(&self, object: &str) -> String {
        let digest = digest(&SHA256, format!("{} {object}", self.id).as_bytes());
        let bits = digest
            .as_ref()
            .iter()
            .take(16)
            .fold(0, |bits: u128, byte| bits << 8 | u128::from(*byte));
        // Version 4 of RFC 9562: those of a cluster are random.
        let [one, two, three, four, five] = [
            bits >> 96,
            bits >> 80 & 0xffff,
            bits >> 64 & 0xfff,
            bits >> 48 & 0xfff,
            bits & 0xffff_ffff_ffff,
        ];
        format!("{one:08x}-{two:04x}-4{three:03x}-8{four:03x}-{five:012x}")
    }

    /// What the token of a pod of the service account (namespace and name) says, for
    /// [`AUDIENCE`] (`pkg/serviceaccount/claims.go` of Kubernetes).
    pub fn claims(
        &self,
        issuer: &str,
        (namespace, name): (&str, &str),
        pod: &str,
        life: Duration,
    ) -> Value {
        let now = unix();
        json!({
            "iss": issuer,
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
            "aud": [AUDIENCE],
            "iat": now,
            "nbf": now,
            "exp": now + life.as_secs(),
            "jti": self.uid(&format!("token {namespace}/{pod}")),
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": { "name": name, "uid": self.uid(&format!("{namespace}/{name}")) },
                "pod": { "name": pod, "uid": self.uid(&format!("pod {namespace}/{pod}")) },
                "node": { "name": "laptop", "uid": self.uid("node laptop") },
            },
        })
    }

    /// A JSON Web Token (RFC 7519).
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn sign(&self, claims: &Value) -> Result<Zeroizing<String>, String> {
        let header = json!({ "alg": "ES256", "kid": self.id });
        let [header, claims] = [&header, claims].map(|it| URL_SAFE_NO_PAD.encode(it.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|_| "a token cannot be signed")?;
        Ok(Zeroizing::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

/// Seconds since 1970.
pub(super) fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
