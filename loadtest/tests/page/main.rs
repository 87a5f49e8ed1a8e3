//! Is the page of a result whole, quiet and legible in a browser?
//!
//! A real Chromium opens the page of `tests/sample.json`, wide and narrow, light and dark. `make
//! test` installs it; by hand: `CHROMIUM_BIN=.tools/bin/chromium cargo test -p vaultlet-loadtest
//! --test page`.

mod browser;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use browser::Browser;

/// Looks at the page from within: measure.js says at what.
const MEASURE: &str = include_str!("measure.js");
const WIDTHS: [u32; 2] = [1280, 400];
const SCHEMES: [&str; 2] = ["light", "dark"];

#[test]
#[cfg_attr(
    not(all(target_os = "linux", target_arch = "x86_64")),
    ignore = "none is installed here; name a Chromium in CHROMIUM_BIN"
)]
fn a_browser_shows_all_of_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let page = directory.path().join("page.html");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sample.json");
    let made = Command::new(env!("CARGO_BIN_EXE_vaultlet-loadtest"))
        .arg("report")
        .args([sample.as_os_str(), "--html".as_ref(), page.as_os_str()])
        .output()
        .expect("the program runs");
    assert!(made.status.success(), "{made:?}");

    let mut browser = Browser::start(directory.path());
    for width in WIDTHS {
        for scheme in SCHEMES {
            let seen = browser.look(&page, width, scheme, MEASURE);
            check(&seen, width, &format!("{width} pixels, {scheme}"));
            let events = browser.events();
            assert_eq!(events.console, Vec::<String>::new(), "{width} pixels, {scheme}");
            assert_eq!(events.requests.len(), 1, "only the page itself: {:?}", events.requests);
        }
    }
}

fn check(seen: &Value, width: u32, which: &str) {
    let number = |name: &str| seen[name].as_f64().unwrap_or_else(|| panic!("{which}: no {name}"));
    let none = |name: &str| {
        assert_eq!(seen[name], Value::Array(Vec::new()), "{which}: {name}");
    };
    assert!(number("width") <= f64::from(width), "{which}: wider than the window: {seen:#}");
    assert!(number("widthOpened") <= f64::from(width), "{which}: tables widen the page: {seen:#}");
    assert!(number("smallest") >= 11.0, "{which}: text too small: {}", seen["smallestText"]);
    assert!(number("contrast") >= 4.5, "{which}: text too faint: {}", seen["faintest"]);
    for problem in ["outside", "overlapping", "unnamed", "repeated", "broken"] {
        none(problem);
    }
    let plots = seen["plots"].as_array().expect("plots");
    // Of the plan 4, side by side 5, by kind 5, over time 5.
    let titles: Vec<&str> = plots.iter().filter_map(|plot| plot["title"].as_str()).collect();
    assert_eq!(titles.len(), 19, "{which}: {titles:#?}");
    for plot in plots {
        let marks = plot["marks"].as_u64().expect("a number");
        assert!(marks >= 10, "{which}: {} has only {marks} marks", plot["title"]);
    }
    assert_eq!(
        seen["ground"],
        if which.ends_with("dark") { "rgb(22, 22, 20)" } else { "rgb(255, 253, 249)" }
    );
}
