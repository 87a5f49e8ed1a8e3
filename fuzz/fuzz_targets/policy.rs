//! Does any text of a policy, and any request, come to a decision? Are the two formats and the
//! orders of rules without surprises?
//!
//! Up to a NUL the input is a policy, up to the next one a path, and the rest a query.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use vaultlet::policy::{
    Acl, Caller, Decision, Dialect, Mount, Operation, Parameters, Request, Selectors, parse,
};

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (Ok(text), Ok(path), query) = (str::from_utf8(part()), str::from_utf8(part()), part())
    else {
        return;
    };
    let policy = Arc::new(parse("p", "ns1", text));
    let caller = Caller { namespace: "team", service_account: "app", pod: None };
    let build =
        |policies: &[Arc<_>]| Acl::new(policies, Selectors::Caller(&caller), Dialect::Current, 0);
    let (once, twice) = (build(&[policy.clone()]), build(&[policy.clone(), policy.clone()]));
    let parameters = Parameters::of_query(query);
    let mut write = [Decision::Deny(None); 3];
    for (index, operation) in
        [Operation::Create, Operation::Update, Operation::Write, Operation::Read, Operation::List]
            .into_iter()
            .enumerate()
    {
        let request =
            Request { operation, path, mount: Mount::Kv, parameters: &parameters, now: 0 };
        let decision = once.decide(&request);
        assert_eq!(decision, twice.decide(&request), "the same policy twice says something else");
        if policy.opaque().is_some() {
            assert!(matches!(decision, Decision::Ask(_)), "an opaque policy decides");
        }
        // What is outside the policy's namespace, no rule of it can govern.
        if !path.trim_start_matches('/').starts_with("ns1/") {
            assert!(!matches!(decision, Decision::Allow(_)), "granted outside of the namespace");
        }
        if let Some(slot) = write.get_mut(index) {
            *slot = decision;
        }
    }
    match write {
        [Decision::Allow(_), Decision::Allow(_), either] => {
            assert!(matches!(either, Decision::Allow(_)));
        }
        [_, _, either] => assert!(!matches!(either, Decision::Allow(_))),
    }
    Parameters::of_json(query);
});
