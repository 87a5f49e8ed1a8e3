//! How is a server's process started, told where to run, and ended?

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::gauges::family;
use super::words;
use crate::cpu::Used;

/// How much of what it said is repeated when it fails.
const LAST_WORDS: usize = 5;

/// How long one that was asked to end may take.
const POLITE: Duration = Duration::from_secs(5);

/// A process. Dropping it ends it.
pub struct Process {
    child: Child,
    log: PathBuf,
    /// What ends it, and the processes that it has started.
    ending: Signal,
}

impl Process {
    /// Starts `command`; what it says goes to the end of the file `log`. On `core` only, if there
    /// is one: the program then counts one core, and sizes itself for that.
    pub fn start(
        mut command: Command,
        log: &Path,
        ending: Signal,
        core: Option<usize>,
    ) -> Result<Self, String> {
        let program = command.get_program().display().to_string();
        let problem = |e: &dyn std::fmt::Display| format!("{program} cannot be started: {e}");
        let file = File::options().create(true).append(true).open(log);
        let file = file.map_err(|e| problem(&format!("{}: {e}", log.display())))?;
        let both = file.try_clone().map_err(|e| problem(&e))?;
        command.stdin(Stdio::null()).stdout(both).stderr(file);
        // Ctrl-C in a terminal is for this program, which ends the others when it has measured.
        command.process_group(0);
        let child = on_core(core, || command.spawn()).map_err(|e| problem(&e))?;
        Ok(Self { child, log: log.to_owned(), ending })
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of it and of all it has started.
    pub(super) fn cpu(&self) -> Option<Duration> {
        family(self.id()).into_iter().map(|pid| Used::with_ended(pid).ok().map(Used::total)).sum()
    }

    /// How it has ended, with its last words; `None` while it runs.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("ended ({status}). It said: {:?}", self.last_words()))
    }

    /// The end of what it said.
    pub fn last_words(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join(" ");
        words::harmless(&last, self.log.parent())
    }

    /// Ends it, and waits until it has.
    pub fn end(&mut self) {
        self.end_with(self.ending);
    }

    /// The same, with this signal first.
    pub fn end_with(&mut self, mut signal: Signal) {
        let began = Instant::now();
        let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) else { return };
        // Not waited for yet, so the number is still its own.
        while let Ok(None) = self.child.try_wait() {
            let _ = kill_process(pid, signal);
            sleep(Duration::from_millis(5));
            if began.elapsed() > POLITE {
                signal = Signal::KILL;
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// What `act` gives, done on one core by this thread and what it starts meanwhile.
#[cfg(target_os = "linux")]
fn on_core<T>(core: Option<usize>, act: impl FnOnce() -> T) -> T {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    let Some((core, usual)) = core.zip(sched_getaffinity(None).ok()) else { return act() };
    let mut only = CpuSet::new();
    only.set(core);
    // An error is a core that was taken away meanwhile; then anywhere will do.
    let _ = sched_setaffinity(None, &only);
    let done = act();
    let _ = sched_setaffinity(None, &usual);
    done
}

#[cfg(not(target_os = "linux"))]
fn on_core<T>(_core: Option<usize>, act: impl FnOnce() -> T) -> T {
    act()
}

/// Has this thread, and those it starts from now on, run on one core only.
#[cfg(target_os = "linux")]
pub(super) fn stay_on(core: usize) {
    let mut only = rustix::thread::CpuSet::new();
    only.set(core);
    let _ = rustix::thread::sched_setaffinity(None, &only);
}

#[cfg(not(target_os = "linux"))]
pub(super) fn stay_on(_core: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_name_neither_secrets_nor_the_directory() {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.arg("-c").arg("echo $PWD/data: s.Kx81lVwQ7rZt0YbN3mPdGh2c; exit 3");
        command.current_dir(&home);
        let mut process =
            Process::start(command, &home.path().join("log"), Signal::KILL, None).unwrap();

        let how = loop {
            if let Some(how) = process.ended() {
                break how;
            }
            sleep(Duration::from_millis(1));
        };

        assert_eq!(how, "ended (exit status: 3). It said: \"./data: [left out]\"");
    }
}
