//! How many connections may be open?

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Allows as many descriptors as the system lets this process have.
pub(super) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised it stays as it is; running out of them is said when it happens.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// What there are too few of, if that is why a connection could not be opened.
pub(super) fn exhausted(problem: &io::Error) -> Option<String> {
    match Errno::from_io_error(problem)? {
        Errno::MFILE | Errno::NFILE => {
            let allowed = getrlimit(Resource::Nofile).current;
            let allowed = allowed.map_or("all".to_owned(), |allowed| allowed.to_string());
            Some(format!(
                "the generator ran out of file descriptors ({allowed} are allowed): raise the hard \
                 limit (ulimit -Hn), or lower the rate"
            ))
        }
        Errno::ADDRNOTAVAIL => Some(
            "the generator ran out of local ports: the server closes its connections after every \
             answer, or there are too many at once"
                .to_owned(),
        ),
        _ => None,
    }
}
