//! What happened, in its order, and a number that stands for all of it.

use std::fmt::{Arguments, Write as _};
use std::time::Duration;

/// The trace of one seed.
#[derive(Debug)]
pub(crate) struct Trace {
    /// FNV-1a, which is the same on every machine.
    hash: u64,
    steps: u64,
    line: String,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// `kept`: whether it is to be read afterwards, and not only compared.
    pub(crate) fn new(kept: bool) -> Self {
        let lines = kept.then(Vec::new);
        Self { hash: 0xcbf2_9ce4_8422_2325, steps: 0, line: String::new(), lines }
    }

    /// Notes that something happened; returns its place in the order.
    pub(crate) fn note(&mut self, at: Duration, what: Arguments<'_>) -> u64 {
        self.steps += 1;
        self.line.clear();
        // A string takes whatever is written to it.
        write!(self.line, "{:>14.6} {what}", at.as_secs_f64()).ok();
        for byte in self.line.bytes().chain([b'\n']) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(lines) = &mut self.lines {
            lines.push(self.line.clone());
        }
        self.steps
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
