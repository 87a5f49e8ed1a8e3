//! What keeps the secrets of this process from its neighbours and from the disk, and how many
//! descriptors may it have?
//!
//! What the kernel is asked for before the first secret is read. That the process needs no root, no
//! capability and no file it may write to is a matter of how it is started
//! (`docs/security.md`); this is what it does itself, wherever it runs.

use rustix::io;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What of the process the kernel now keeps out of swap.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Memory {
    /// All of it, and all that it will have.
    Locked,
    /// None: there is a bound on it (`RLIMIT_MEMLOCK`), and what goes past it would be refused to
    /// the program. Or there is no such thing here.
    Swappable,
}

/// Leaves no core file, cannot be read or traced by other processes of its user, gains no
/// privileges by what it starts, and, where nothing bounds that, stays out of swap.
///
/// To be called while the process has one thread: those it starts later have it from that one.
///
/// # Errors
/// The kernel refuses what it never refuses: better not to start.
pub fn harden() -> io::Result<Memory> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none)?;
    here()
}

/// Takes as many descriptors as may be had: a shell or a service manager gives 1,024 unless asked,
/// for the sake of programs that call `select(2)`, and `max_connections` is more.
///
/// # Errors
/// The kernel refuses what it never refuses.
pub fn take_all_descriptors() -> io::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
}

/// `prctl(2)`, `mlockall(2)`.
#[cfg(target_os = "linux")]
fn here() -> io::Result<Memory> {
    use rustix::mm::{MlockAllFlags, mlockall};
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    use rustix::thread::{CapabilitySet, capabilities, set_no_new_privs};

    // Also in the way of ptrace and of `/proc/PID/mem`, for whoever has no CAP_SYS_PTRACE.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_no_new_privs(true)?;

    let unbounded = getrlimit(Resource::Memlock).current.is_none();
    let exempt = capabilities(None)?.effective.contains(CapabilitySet::IPC_LOCK);
    if !unbounded && !exempt {
        return Ok(Memory::Swappable);
    }
    // Pages are locked as they are touched: locking more would make all of it resident.
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    // A sandbox may refuse it all the same; it has no swap either.
    Ok(if mlockall(all).is_ok() { Memory::Locked } else { Memory::Swappable })
}

#[cfg(not(target_os = "linux"))]
fn here() -> io::Result<Memory> {
    Ok(Memory::Swappable)
}
