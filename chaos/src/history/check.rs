//! Was everything as it should be?
//!
//! | | |
//! |---|---|
//! | P1 | nobody is told a secret longer than the window after they had lost the right to it |
//! | P2 | no answer is older than a change that everybody should know of |
//! | P3 | nobody is told an older version than somebody was told before |
//! | P4 | a write through vaultlet is seen by all who read after it |
//! | P5 | a value is that of the path that was asked for |
//! | P6 | every secret that was told has one audit record |
//!
//! While the upstream cannot be asked, nothing new can be known. So what is said above of time is
//! about time in which it could be asked, at a stretch.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use super::record::{Audited, Change, History, Path, Promises, Rank, Read, Span, Told, What};

#[cfg(test)]
mod tests;

/// Something that should not have been.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Violation {
    pub(crate) property: Property,
    pub(crate) words: String,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Property {
    P1,
    P2,
    P3,
    P4,
    P5,
    P6,
}

/// All that is wrong with a history.
pub(crate) fn check(history: &History, promises: &Promises) -> Vec<Violation> {
    let mut found = Vec::new();
    for read in &history.reads {
        found.extend(unauthorised(read, history, promises).map(|words| (Property::P1, words)));
        found.extend(stale(read, history, promises).map(|words| (Property::P2, words)));
        found.extend(unseen(read, history).map(|words| (Property::P4, words)));
        found.extend(mistaken(read).map(|words| (Property::P5, words)));
    }
    found.extend(backwards(history).into_iter().map(|words| (Property::P3, words)));
    found.extend(unaudited(history).into_iter().map(|words| (Property::P6, words)));
    found.into_iter().map(|(property, words)| Violation { property, words }).collect()
}

/// P1.
fn unauthorised(read: &Read, history: &History, promises: &Promises) -> Option<String> {
    let Told::Value { .. } = read.told else { return None };
    if read.reader.group != read.path.group {
        return Some(format!("{} was told a secret that was never theirs", shown(read)));
    }
    let group = read.path.group;
    let lost = history.changes.iter().find(|change| {
        let regained = |other: &Change| {
            other.what == What::Granted(group)
                && other.acked > change.acked
                && other.began < read.ended
        };
        let lost = match change.what {
            What::Revoked(reader) => reader == read.reader,
            What::Denied(denied) => denied == group && !history.changes.iter().any(regained),
            What::Granted(_) | What::Wrote { .. } => false,
        };
        lost && known(history, change.acked, read.began) > promises.window + promises.slack
    })?;
    Some(format!(
        "{} was told a secret, {:?} acknowledged at {:?}",
        shown(read),
        lost.what,
        lost.acked
    ))
}

/// P2.
fn stale(read: &Read, history: &History, promises: &Promises) -> Option<String> {
    let rank = read.rank()?;
    let longest = promises.ttl + promises.stale + promises.slack;
    if let Some(age) = read.age.filter(|age| *age > longest) {
        return Some(format!("{} was told what was {age:?} old", shown(read)));
    }
    let newer = writes(history, read.path).find(|(change, newer, _)| {
        *newer > rank && known(history, change.acked, read.began) > promises.ttl + promises.slack
    });
    let (change, newer, _) = newer?;
    Some(format!(
        "{} was told {rank:?}, but {newer:?} was there since {:?}",
        shown(read),
        change.acked
    ))
}

/// P4.
fn unseen(read: &Read, history: &History) -> Option<String> {
    let rank = read.rank()?;
    let (change, newer, _) = writes(history, read.path)
        .find(|(change, newer, through)| *through && *newer > rank && change.acked < read.began)?;
    Some(format!(
        "{} was told {rank:?}, but {newer:?} was written through vaultlet at {:?}",
        shown(read),
        change.acked
    ))
}

/// P5.
fn mistaken(read: &Read) -> Option<String> {
    match &read.told {
        Told::Value { path, .. } if *path != read.path.name() => {
            Some(format!("{} was told the value of {path}", shown(read)))
        }
        Told::Nonsense => Some(format!("{} was told something else, with 200", shown(read))),
        _ => None,
    }
}

/// P3.
fn backwards(history: &History) -> Vec<String> {
    let mut by_path: BTreeMap<Path, Vec<&Read>> = BTreeMap::new();
    for read in history.reads.iter().filter(|read| read.rank().is_some()) {
        by_path.entry(read.path).or_default().push(read);
    }
    let mut found = Vec::new();
    for reads in by_path.values_mut() {
        reads.sort_by_key(|read| read.began);
        // Only what was answered before a read was sent came before it.
        let mut open: BinaryHeap<Reverse<(Duration, Option<Rank>)>> = BinaryHeap::new();
        let mut newest = None;
        for read in reads.iter() {
            while let Some(Reverse((ended, rank))) = open.peek()
                && *ended < read.began
            {
                newest = newest.max(*rank);
                open.pop();
            }
            if read.rank() < newest {
                found.push(format!(
                    "{} was told {:?} after {newest:?} had been told",
                    shown(read),
                    read.rank()
                ));
            }
            open.push(Reverse((read.ended, read.rank())));
        }
    }
    found
}

/// P6.
fn unaudited(history: &History) -> Vec<String> {
    let mut counts: BTreeMap<(u16, String), [u64; 3]> = BTreeMap::new();
    for read in &history.reads {
        let column = match read.told {
            Told::Value { .. } => 0,
            Told::Lost | Told::Nonsense => 1,
            Told::Deleted { .. } | Told::Refused => continue,
        };
        counts.entry((read.port, read.path.name())).or_default()[column] += 1;
    }
    for Audited { port, path } in &history.audited {
        counts.entry((*port, path.clone())).or_default()[2] += 1;
    }
    let wrong = counts
        .into_iter()
        .filter(|(_, [told, lost, audited])| audited < told || *audited > told + lost);
    let words = wrong.map(|((port, path), [told, lost, audited])| {
        format!(
            "port {port} was told {path} {told} times, and {lost} more may have been; {audited} \
             were recorded"
        )
    });
    words.chain(history.broken_chain.clone()).collect()
}

/// What has become of a secret, how, and whether through vaultlet.
fn writes(history: &History, of: Path) -> impl Iterator<Item = (&Change, Rank, bool)> {
    history.changes.iter().filter_map(move |change| match change.what {
        What::Wrote { path, rank, through_vaultlet } if path == of => {
            Some((change, rank, through_vaultlet))
        }
        _ => None,
    })
}

/// The longest stretch between two moments in which the upstream could be asked.
fn known(history: &History, from: Duration, to: Duration) -> Duration {
    let mut outages: Vec<Span> = history.outages.clone();
    outages.sort_by_key(|outage| outage.from);
    let (mut longest, mut at) = (Duration::ZERO, from);
    for Span { from, to: over } in outages {
        if from >= to {
            break;
        }
        longest = longest.max(from.saturating_sub(at));
        at = at.max(over);
    }
    longest.max(to.saturating_sub(at))
}

fn shown(read: &Read) -> String {
    let Read { reader, path, began, .. } = read;
    format!(
        "at {began:?} reader {} of group {}, who asked for {}",
        reader.number,
        reader.group,
        path.name()
    )
}
