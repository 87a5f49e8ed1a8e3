//! How is a process kept from having more memory than it should?
//!
//! By a control group of its own, of whichever version can be written to. Without one nothing kills
//! it, and what it holds is measured.

use std::fs;
use std::path::{Path, PathBuf};

/// A limit on a process that runs. Dropping it takes the group away, once the process has ended.
pub(crate) struct Limit {
    group: Option<Group>,
}

struct Group {
    directory: PathBuf,
    version: u8,
}

/// Names of files in a group, by version.
struct Files {
    limit: &'static str,
    peak: &'static str,
    events: &'static str,
}

impl Group {
    /// A new one below the first place that takes it.
    fn make(bytes: u64) -> Option<Self> {
        let name = format!("vaultlet-chaos-{}", std::process::id());
        for (root, version) in [("/sys/fs/cgroup", 2), ("/sys/fs/cgroup/memory", 1)] {
            let marks = Path::new(root).join("cgroup.controllers").is_file();
            if marks != (version == 2) {
                continue;
            }
            let group = Self { directory: Path::new(root).join(&name), version };
            if fs::create_dir(&group.directory).is_err() {
                continue;
            }
            let limit = group.directory.join(group.files().limit);
            if fs::write(limit, bytes.to_string()).is_ok() {
                return Some(group);
            }
        }
        None
    }

    fn files(&self) -> Files {
        match self.version {
            1 => Files {
                limit: "memory.limit_in_bytes",
                peak: "memory.max_usage_in_bytes",
                events: "memory.oom_control",
            },
            _ => Files { limit: "memory.max", peak: "memory.peak", events: "memory.events" },
        }
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.directory.join(file)).ok()
    }
}

impl Limit {
    /// Of so many bytes on a process, for what it takes from now on.
    pub(crate) fn set(pid: u32, bytes: u64) -> Self {
        let group = Group::make(bytes)
            .filter(|it| fs::write(it.directory.join("cgroup.procs"), pid.to_string()).is_ok());
        Self { group }
    }

    /// What keeps it.
    pub(crate) fn how(&self) -> &'static str {
        match self.group.as_ref().map(|group| group.version) {
            Some(1) => "control group, version 1",
            Some(_) => "control group, version 2",
            None => "none that can be set here: what is resident was measured",
        }
    }

    /// The most that was counted: the kernel's buffers too, but not what the process had before.
    pub(crate) fn peak(&self) -> Option<u64> {
        let group = self.group.as_ref()?;
        group.read(group.files().peak)?.trim().parse().ok()
    }

    /// How often the kernel killed for want of memory.
    pub(crate) fn kills(&self) -> u64 {
        let Some(group) = &self.group else { return 0 };
        let events = group.read(group.files().events).unwrap_or_default();
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.and_then(|kills| kills.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        if let Some(group) = &self.group {
            // A process that still runs goes back to the group above.
            let above = group.directory.join("../cgroup.procs");
            for pid in group.read("cgroup.procs").unwrap_or_default().lines() {
                let _ = fs::write(&above, pid);
            }
            let _ = fs::remove_dir(&group.directory);
        }
    }
}
