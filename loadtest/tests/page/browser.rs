//! A headless Chromium, driven by its `DevTools` protocol over a pipe: JSON with a zero byte behind.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

/// It reads commands from descriptor 3 and writes answers and events to 4.
const WIRED: &str = r#"exec "$0" "$@" 3<&0 4>&1 0</dev/null 1>&2"#;
const ARGUMENTS: [&str; 11] = [
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox", // as root, in a container
    "--no-zygote",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Browser {
    process: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    /// Those that came while an answer was awaited.
    events: Vec<Value>,
    last: u64,
    session: Value,
}

/// What a page did besides being shown.
#[derive(Debug)]
pub(crate) struct Events {
    /// Messages, errors and exceptions.
    pub(crate) console: Vec<String>,
    /// Addresses that were asked for.
    pub(crate) requests: Vec<String>,
}

impl Browser {
    /// With an empty profile in `directory`.
    pub(crate) fn start(directory: &Path) -> Self {
        let program = std::env::var_os("CHROMIUM_BIN").expect(
            "CHROMIUM_BIN names no Chromium; `make .tools/chromium/made` installs one as \
             .tools/bin/chromium",
        );
        // Tests run in the package's directory, and a name may be from the repository's.
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(program);
        let mut process = Command::new("sh")
            .args(["-c", WIRED])
            .arg(here)
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", directory.join("profile").display()))
            .env("HOME", directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh runs");
        let commands = process.stdin.take().expect("it is piped");
        let mut pipe = BufReader::new(process.stdout.take().expect("it is piped"));
        let (send, messages) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while pipe.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                message.pop();
                let read = serde_json::from_slice(&message).expect("a message is JSON");
                if send.send(read).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let mut browser =
            Self { process, commands, messages, events: Vec::new(), last: 0, session: Value::Null };
        browser.open();
        browser
    }

    fn open(&mut self) {
        let target = self.call("Target.createTarget", &json!({"url": "about:blank"}));
        let target = &target["targetId"];
        let attached =
            self.call("Target.attachToTarget", &json!({"targetId": target, "flatten": true}));
        self.session = attached["sessionId"].clone();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), &json!({}));
        }
    }

    /// Opens a page in a window of this width, and gives the JSON that `script` makes of it.
    pub(crate) fn look(&mut self, page: &Path, width: u32, scheme: &str, script: &str) -> Value {
        let window =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &window);
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}));
        self.events.clear();
        let address = format!("file://{}", page.display());
        self.call("Page.navigate", &json!({"url": address}));
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.next();
            self.events.push(event);
        }
        let found = self.call("Runtime.evaluate", &json!({"expression": script}));
        let text = found["result"]["value"].as_str().unwrap_or_else(|| panic!("{found:#}"));
        serde_json::from_str(text).expect("the script gives JSON")
    }

    /// Since the page was opened.
    pub(crate) fn events(&self) -> Events {
        let of = |methods: &[&str]| -> Vec<&Value> {
            let wanted = |event: &&Value| methods.iter().any(|method| event["method"] == *method);
            self.events.iter().filter(wanted).collect()
        };
        let said = ["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"];
        let requests = of(&["Network.requestWillBeSent"]);
        Events {
            console: of(&said).into_iter().map(Value::to_string).collect(),
            requests: requests
                .into_iter()
                .map(|event| event["params"]["request"]["url"].to_string())
                .collect(),
        }
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.last += 1;
        let mut command = json!({"id": self.last, "method": method, "params": params});
        if !self.session.is_null() {
            command["sessionId"] = self.session.clone();
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).expect("the browser runs");
        loop {
            let message = self.next();
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    fn next(&self) -> Value {
        self.messages.recv_timeout(PATIENCE).expect("the browser answers within a minute")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
