use super::*;

/// As OpenBao 2.7 gives it, with what says nothing left out.
const METRICS: &str = r#"
# TYPE vault_core_handle_request summary
vault_core_handle_request{quantile="0.5"} 0.28
vault_core_handle_request_sum 29.03
vault_core_handle_request_count 60
vault_core_handle_login_request_count 4
vault_expire_renew_count 5
vault_expire_renew_token_count 2
vault_expire_num_leases 7
vault_route_create_kv1__count 1
vault_route_create_kv2__count 2
vault_route_update_kv2__count 3
vault_route_read_kv1__count 7
vault_route_read_kv2__count 9
vault_route_read_database__count 6
vault_route_read_auth_token__count 3
vault_route_update_auth_token__count 4
vault_route_update_auth_jwt__count 4
vault_route_read_sys__count 2
vault_route_update_sys__count 12
vault_route_list_sys__count 3
vault_route_rollback_kv1__count 100
vault_route_read_kv1_{quantile="0.99"} 0.07
"#;

#[test]
fn the_telemetry_says_what_was_asked_for() {
    let kinds = kinds(METRICS, 5, 2);

    let expected = Kinds::from([
        ("kv-read", 16),
        ("kv-write", 6),
        ("login", 4),
        // Seven of the token store, of which two renewed one.
        ("lookup", 5),
        ("lease", 6),
        ("renew", 7),
        // Twelve writes, of which two were ours, and five renewed leases.
        ("capabilities", 5),
        ("mount", 2),
        // Of 64, five were ours.
        ("other", 8),
    ]);
    assert_eq!(kinds, expected);
}

#[test]
fn a_server_that_has_counted_nothing_was_asked_nothing() {
    assert_eq!(kinds("", 3, 3).values().sum::<u64>(), 0);
    assert_eq!(kinds("no metrics at all\nvault_core_handle_request_count x", 0, 0)["other"], 0);
}

#[test]
fn a_family_has_all_that_was_started() {
    let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();

    let (family, own) = (family(std::process::id()), resident(std::process::id()));

    let _ = child.kill();
    let _ = child.wait();
    assert!(family.contains(&std::process::id()) && family.contains(&child.id()), "{family:?}");
    assert!(own.is_some_and(|bytes| bytes > 1 << 20), "{own:?}");
}
