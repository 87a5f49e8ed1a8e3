//! What was demanded, and what was seen?

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Map, Value};

/// What came of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    run: String,
    met: bool,
    demands: Vec<Demand>,
    /// What is worth knowing besides.
    figures: Map<String, Value>,
}

#[derive(Debug, Serialize)]
struct Demand {
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<f64>,
    seen: f64,
    met: bool,
}

impl Verdict {
    pub(crate) fn new(run: impl Into<String>) -> Self {
        let build = if cfg!(debug_assertions) { "debug" } else { "optimised" };
        let figures = Map::from_iter([("build".to_owned(), build.into())]);
        Self { run: run.into(), met: true, demands: vec![], figures }
    }

    pub(crate) fn at_most(&mut self, what: &str, limit: f64, seen: f64) {
        self.demand(what, Some(limit), None, seen, seen <= limit);
    }

    pub(crate) fn at_least(&mut self, what: &str, limit: f64, seen: f64) {
        self.demand(what, None, Some(limit), seen, seen >= limit);
    }

    /// Of something that must not happen at all.
    pub(crate) fn none(&mut self, what: &str, seen: u64) {
        self.at_most(what, 0.0, number(seen));
    }

    /// Of what makes the run one that shows something.
    pub(crate) fn some(&mut self, what: &str, seen: u64) {
        self.at_least(what, 1.0, number(seen));
    }

    pub(crate) fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.insert(name.to_owned(), value.into());
    }

    /// Quantiles, in milliseconds.
    pub(crate) fn latencies(&mut self, name: &str, of: &Histogram<u64>) {
        let quantiles = [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)];
        let quantiles =
            quantiles.map(|(name, at)| (name.to_owned(), Value::from(quantile(of, at))));
        self.figure(name, Map::from_iter(quantiles));
    }

    #[cfg(test)]
    pub(crate) fn met(&self) -> bool {
        self.met
    }

    /// The line on standard output, and a summary on standard error.
    pub(crate) fn print(&self) {
        let mut words = format!("{}: {}\n", self.run, if self.met { "met" } else { "MISSED" });
        for Demand { what, at_most, at_least, seen, met } in &self.demands {
            let mark = if *met { "ok  " } else { "MISS" };
            let limit = match (at_most, at_least) {
                (Some(limit), _) => format!("at most {limit}"),
                (_, Some(limit)) => format!("at least {limit}"),
                _ => String::new(),
            };
            let _ = writeln!(words, "  {mark}  {what}: {seen} ({limit})");
        }
        for (name, value) in &self.figures {
            let _ = writeln!(words, "        {name}: {value}");
        }
        let _ = io::stderr().write_all(words.as_bytes());
        let line = serde_json::to_string(self).unwrap_or_default();
        // Whoever reads it may have gone.
        let _ = writeln!(io::stdout(), "{line}");
    }

    fn demand(
        &mut self,
        what: &str,
        at_most: Option<f64>,
        at_least: Option<f64>,
        seen: f64,
        met: bool,
    ) {
        self.met &= met;
        self.demands.push(Demand { what: what.to_owned(), at_most, at_least, seen, met });
    }
}

/// Prints what came of runs: 0 if all that was demanded was seen.
pub(crate) fn conclude(verdicts: Result<Vec<Verdict>, String>) -> ExitCode {
    match verdicts {
        Ok(verdicts) => ExitCode::from(u8::from(!verdicts.iter().all(|verdict| verdict.met))),
        Err(problem) => {
            let _ = writeln!(io::stderr(), "vaultlet-chaos: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// In milliseconds, of microseconds.
pub(crate) fn quantile(of: &Histogram<u64>, at: f64) -> f64 {
    number(of.value_at_quantile(at)) / 1000.0
}

/// Counts here are far below 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^53")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_miss_is_a_miss() {
        let mut verdict = Verdict::new("test");
        verdict.none("failures", 0);
        verdict.at_most("latency", 5.0, 5.0);
        assert!(verdict.met);

        verdict.some("hits", 0);
        verdict.none("failures", 0);

        assert!(!verdict.met);
        assert_eq!(conclude(Ok(vec![verdict])), ExitCode::from(1));
    }
}
