//! What does a request cost a server, and what does a vaultlet weigh?
//!
//! Measured, and kept in a file that says how.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Costs, Held, Kind, Upstream};

/// What the program comes with.
const SHIPPED: &str = include_str!("../../costs.json");

/// Prices.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Book {
    /// Where they are from, in words: the command that measured them, on what.
    pub(crate) from: String,
    /// CPU microseconds of the server for a request, by kind.
    pub(crate) unit_costs: BTreeMap<String, f64>,
    pub(crate) costs: Costs,
    weights: Weights,
}

/// The file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Page {
    from: String,
    upstream_microseconds: BTreeMap<String, f64>,
    vaultlet: Weights,
}

/// What a vaultlet takes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Weights {
    /// CPU time for a request that is not answered from memory.
    pub(super) microseconds_for_a_miss: f64,
    /// Resident bytes when it holds nothing.
    pub(super) idle_bytes: f64,
    /// Resident for each byte that its cache says it holds.
    pub(super) bytes_for_a_cached_byte: f64,
    /// Resident for each token that it knows.
    pub(super) bytes_for_an_identity: f64,
}

impl Book {
    /// What the program comes with.
    ///
    /// # Errors
    /// The file it was built with is broken.
    pub(crate) fn shipped() -> Result<Self, String> {
        Self::parse(SHIPPED, "the shipped costs.json")
    }

    /// What `file` says.
    ///
    /// # Errors
    /// It cannot be read, or something is missing in it.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|e| {
            format!("{name} cannot be read: {e}; `plan --calibrate {name}` would write it")
        })?;
        Self::parse(&text, &name)
    }

    fn parse(text: &str, name: &str) -> Result<Self, String> {
        let hint = "`plan --calibrate FILE` writes such a file";
        let page: Page = serde_json::from_str(text).map_err(|e| format!("{name}: {e}; {hint}"))?;
        let costs = Costs::new(&page.upstream_microseconds);
        let costs = costs.map_err(|e| format!("{name}: upstream_microseconds: {e}; {hint}"))?;
        let Page { from, upstream_microseconds: unit_costs, vaultlet: weights } = page;
        Ok(Self { from, unit_costs, costs, weights })
    }

    /// These.
    ///
    /// # Errors
    /// A kind is missing.
    pub(super) fn new(
        from: String,
        unit_costs: BTreeMap<String, f64>,
        weights: Weights,
    ) -> Result<Self, String> {
        let costs = Costs::new(&unit_costs)?;
        Ok(Self { from, unit_costs, costs, weights })
    }

    /// As a file.
    pub(crate) fn text(&self) -> Result<String, String> {
        let page = Page {
            from: self.from.clone(),
            upstream_microseconds: self.unit_costs.clone(),
            vaultlet: self.weights,
        };
        let text = serde_json::to_string_pretty(&page);
        text.map(|text| text + "\n").map_err(|e| e.to_string())
    }

    /// An upstream with these prices, for vaultlets with these.
    pub(crate) fn upstream(&self, cores: Option<f64>, stands_for: f64) -> Upstream {
        let vaultlet = Duration::from_secs_f64(self.weights.microseconds_for_a_miss / 1e6);
        Upstream { costs: self.costs.clone(), cores, stands_for, vaultlet }
    }

    /// CPU time of the server for one request of this kind.
    pub(crate) fn cost(&self, kind: &str) -> Duration {
        let known = Kind::ALL.into_iter().find(|known| known.name() == kind);
        known.map_or(Duration::ZERO, |kind| self.costs.of(kind))
    }

    /// What a vaultlet that holds so much takes.
    pub(crate) fn resident(&self, held: &Held) -> u64 {
        let Weights { idle_bytes, bytes_for_a_cached_byte, bytes_for_an_identity, .. } =
            self.weights;
        let bytes = idle_bytes
            + held.bytes * bytes_for_a_cached_byte
            + held.identities * bytes_for_an_identity;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number of bytes"
        )]
        let bytes = bytes as u64;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shipped_is_whole_and_reads_back() {
        let book = Book::shipped().unwrap();

        assert_eq!(Book::parse(&book.text().unwrap(), "itself").unwrap(), book);
    }

    #[test]
    fn a_page_with_something_missing_is_refused_with_its_name() {
        let whole = Book::shipped().unwrap().text().unwrap();
        for (from, to, expected) in [
            ("\"kv-read\"", "\"kv-reads\"", "\"kv-reads\" is no kind"),
            ("\"idle_bytes\"", "\"busy\"", "unknown field `busy`"),
        ] {
            let problem = Book::parse(&whole.replace(from, to), "costs").unwrap_err();
            assert!(problem.contains(expected) && problem.starts_with("costs: "), "{problem}");
        }
    }

    #[test]
    fn memory_is_the_sum_of_what_is_held() {
        let mut book = Book::shipped().unwrap();
        book.weights = Weights {
            microseconds_for_a_miss: 0.0,
            idle_bytes: 1000.0,
            bytes_for_a_cached_byte: 1.5,
            bytes_for_an_identity: 300.0,
        };

        assert_eq!(book.resident(&Held { bytes: 2000.0, identities: 2.0 }), 1000 + 3000 + 600);
    }
}
