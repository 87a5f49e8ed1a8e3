use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

/// A scenario for others to be made of.
const BASE: &str = include_str!("tests/base.yaml");

fn said(text: &str) -> Result<Scenario, String> {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("s.yaml");
    fs::write(&file, text).unwrap();
    fs::write(directory.path().join("some.log"), "nothing of use\n").unwrap();
    read(&file).map_err(|problems| {
        let directory = format!("{}/", directory.path().display());
        problems.replace(&directory, "").replace("s.yaml:", "")
    })
}

fn base() -> Scenario {
    said(BASE).unwrap()
}

/// Each case: what is replaced in the base, by what, and all that is then said.
#[test]
fn every_mistake_is_named_with_a_way_out() {
    let cases: Vec<&str> = include_str!("tests/problems.txt").split("\n== ").skip(1).collect();
    let mut wrong = String::new();
    for case in &cases {
        let (change, expected) = case.split_once('\n').unwrap();
        let (from, to) = change.split_once(" =>").unwrap();
        let (from, to) = (from.replace("\\n", "\n"), to.trim_start().replace("\\n", "\n"));
        assert_eq!(BASE.matches(&from).count(), 1, "{from}");

        let found = said(&BASE.replace(&from, &to)).map(|_| ()).unwrap_err();

        if found != expected.trim_end() {
            let _ = writeln!(wrong, "== {change}\n{found}");
        }
    }
    assert!(wrong.is_empty(), "other things are said:\n{wrong}");
    assert!(cases.len() >= 60, "{} cases", cases.len());
}

#[test]
fn what_is_not_yaml_or_not_there_is_said() {
    let none = read(Path::new("no/such.yaml")).unwrap_err();
    assert!(none.contains("no/such.yaml: cannot be read"), "{none}");
    assert!(said("a: [").unwrap_err().contains("not YAML"));
    let empty = said("").unwrap_err();
    for key in ["name", "world", "phases", "deployments"] {
        assert!(empty.contains(&format!("`{key}` is missing")), "{empty}");
    }
}

#[test]
fn what_is_left_out_has_a_default() {
    let text = "name: a\nworld:\n  secrets: [{name: s}]\n  roles: [{name: r}]\n  deployments: \
                [{name: d, leases: [r], reads: [{secrets: s, every: 1s}]}]\nphases: [{name: p, \
                duration: 1s}]\n";
    let scenario = said(text).unwrap();

    assert_eq!((scenario.seed, scenario.transport), (1, Transport::Tcp));
    let World { nodes, credential, token_ttl, deployments, secrets, roles } = scenario.world;
    assert_eq!((nodes, credential, token_ttl.as_secs()), (1, Credential::Token, 3600));
    let popularity = Popularity::Uniform;
    let name = "s".to_owned();
    let secret = Secrets { name, engine: Engine::Kv2, count: 1, bytes: (400, 400), popularity };
    assert_eq!(secrets, [secret]);
    assert_eq!((roles[0].ttl.as_secs(), roles[0].max_ttl.as_secs()), (3600, 86_400));
    assert_eq!((deployments[0].pods, deployments[0].accounts), (1, 1));
    let every = Some(Duration::from_secs(1));
    let reads = Reads { of: Wanted::Secrets(0), at_start: 0, every, writes: 0.0 };
    assert_eq!(deployments[0].reads, [reads]);
    assert_eq!(scenario.phases[0].arrivals, Arrivals::None);
    assert_eq!(scenario.phases[0].happening, Happening::Nothing);
}

#[test]
fn the_base_is_read_as_it_is_written() {
    let scenario = base();

    assert_eq!(scenario.settings, [("cache.kv.ttl".to_owned(), "30s".to_owned())]);
    assert_eq!(scenario.world.secrets[0].bytes, (200, 4096));
    assert_eq!(scenario.world.secrets[1].popularity, Popularity::Listed(vec![50.0, 20.0]));
    assert_eq!(scenario.world.deployments[1].reads[0].of, Wanted::Role(0));
    assert_eq!(scenario.fail_if, ["p99(rush) > 50ms", "hits(rush) < 50%"]);
    let seconds = Duration::from_secs;
    let happenings: Vec<Happening> = scenario.phases.iter().map(|it| it.happening).collect();
    assert_eq!(
        happenings,
        [
            Happening::ColdStart { over: seconds(5) },
            Happening::Nothing,
            Happening::RollOut { deployment: 0, over: seconds(20) },
            Happening::Drain { over: seconds(10) },
            Happening::Rotate { secrets: 0, share: 0.5, over: Duration::ZERO },
            Happening::Outage,
        ]
    );
    let arrivals: Vec<Arrivals> = scenario.phases.into_iter().map(|it| it.arrivals).collect();
    assert_eq!(
        arrivals,
        [
            Arrivals::World { poisson: true, factor: (0.0, 1.0) },
            Arrivals::Saturate { connections: 8 },
            Arrivals::World { poisson: false, factor: (1.0, 1.0) },
            Arrivals::Rate { per_second: 50.0, poisson: true },
            Arrivals::Bursts { every: seconds(5), within: seconds(1), factor: 2.0 },
            Arrivals::Share { phase: "rush".into(), share: 0.5, poisson: true },
        ]
    );
}

#[test]
fn the_documentation_s_example_is_right() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/load-tests.md");
    let page = fs::read_to_string(file).unwrap();
    let (_, example) = page.split_once("```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();

    let scenario = said(example).unwrap();

    let (sets, phases) = (scenario.world.secrets.len(), scenario.phases.len());
    assert_eq!((sets, scenario.world.deployments.len(), phases), (3, 2, 4));
}

fn shipped() -> Vec<(PathBuf, Scenario)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.map(|file| (file.clone(), read(&file).unwrap())).collect()
}

#[test]
fn the_shipped_scenarios_are_right_and_short() {
    let all = shipped();
    assert_eq!(all.len(), 9);
    for (file, scenario) in all {
        assert_eq!(file.file_stem().unwrap().to_str(), Some(scenario.name.as_str()));
        assert!(!scenario.about.is_empty() && !scenario.fail_if.is_empty(), "{}", scenario.name);
        let duration: Duration = scenario.phases.iter().map(|phase| phase.duration).sum();
        assert!(duration <= Duration::from_mins(1), "{}: {duration:?}", scenario.name);
    }
}

/// What a cluster can go through is in one of them.
#[test]
fn the_shipped_scenarios_leave_nothing_out() {
    let all: Vec<Scenario> = shipped().into_iter().map(|(_, scenario)| scenario).collect();
    let happens = |wanted: fn(&Happening) -> bool| {
        all.iter().flat_map(|it| &it.phases).any(|phase| wanted(&phase.happening))
    };
    assert!(happens(|it| matches!(it, Happening::ColdStart { .. })));
    assert!(happens(|it| matches!(it, Happening::RollOut { .. })));
    assert!(happens(|it| matches!(it, Happening::Drain { .. })));
    assert!(happens(|it| matches!(it, Happening::Rotate { .. })));
    assert!(happens(|it| matches!(it, Happening::Outage)));
    assert!(happens(|it| matches!(it, Happening::PolicyChange)));
    for credential in [Credential::Token, Credential::Login, Credential::ServiceAccount] {
        assert!(all.iter().any(|it| it.world.credential == credential), "{credential:?}");
    }
    for engine in [Engine::Kv1, Engine::Kv2] {
        assert!(all.iter().flat_map(|it| &it.world.secrets).any(|set| set.engine == engine));
    }
}
