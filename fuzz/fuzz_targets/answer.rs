//! Is every answer that is kept one whole JSON object without a lease, a login or errors?
//!
//! The first two bytes choose what was read and the status, the rest is the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use vaultlet::clock::Clock;
use vaultlet::kv::answer::{Kind, Reading};

fuzz_target!(|input: &[u8]| {
    let [kind, status, body @ ..] = input else { return };
    let kind = [Kind::V1, Kind::V2(None), Kind::V2(Some(1)), Kind::Mount][usize::from(*kind) % 4];
    let status = [200, 204, 404, 400, 403, 500, 503][usize::from(*status) % 7];
    match Reading::of(kind, status, body, &Clock::default()) {
        Reading::Garbage(_) | Reading::Other => (),
        kept => {
            assert!(matches!(status, 200 | 404), "{status} was kept");
            let whole = serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
            assert!(whole && body.trim_ascii_start().starts_with(b"{"), "{kept:?}");
            // Deeper than the full parser goes: nothing more can be said of it.
            let Ok(Value::Object(frame)) = serde_json::from_slice(body) else { return };
            let nothing = |key: &str| frame.get(key).is_none_or(Value::is_null);
            assert!(nothing("auth") && nothing("wrap_info"));
            let lease = frame.get("lease_id").and_then(Value::as_str).unwrap_or("");
            assert!(lease.is_empty());
            let errors = frame.get("errors").and_then(Value::as_array);
            assert!(errors.is_none_or(Vec::is_empty));
        }
    }
});
