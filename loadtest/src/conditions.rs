//! Did something come true under which a command must fail (`--fail-if`)?
//!
//! A condition compares figures, each of a phase and of a target: `p99(steady) > 5ms`,
//! `vaultlet.p99(half) / bare.p99(half) > 1.25`. A figure that names no target is vaultlet's, where
//! that is measured, and otherwise the condition is about every target and true if it is of one.
//! docs/load-tests.md lists the figures and units.

use std::fmt;

use crate::result::{self, Condition};

mod expression;
mod figure;
mod read;
mod token;

use expression::{Expression, Value};

/// A condition that makes sense.
#[derive(Clone, Debug)]
pub(crate) struct FailIf {
    text: String,
    expression: Expression,
}

/// Reads conditions of a command line or a scenario, and holds their names against the phases and
/// targets of the run to come; one paragraph about all that are wrong.
pub(crate) fn read(
    texts: &[String],
    phases: &[&str],
    targets: &[&str],
) -> Result<Vec<FailIf>, String> {
    let mut conditions = Vec::new();
    let mut problems = Vec::new();
    for text in texts {
        match read::expression(text, phases, targets) {
            Ok(expression) => conditions.push(FailIf { text: text.clone(), expression }),
            Err(read::Problem { at, what }) => {
                problems.push(format!("condition '{text}': character {}: {what}", at + 1));
            }
        }
    }
    if problems.is_empty() { Ok(conditions) } else { Err(problems.join("\n")) }
}

impl FailIf {
    /// The first target that it names and that is none of `targets`.
    pub(crate) fn lacks(&self, targets: &[&str]) -> Option<&str> {
        self.expression.targets().into_iter().find(|name| !targets.contains(name))
    }

    /// Whether it came true in what was measured.
    pub(crate) fn judge(&self, result: &result::Result) -> Condition {
        let names: Vec<&str> = result.targets.iter().map(|target| target.name.as_str()).collect();
        let about: Vec<&str> = match names.iter().find(|name| **name == "vaultlet") {
            // One that names all its targets is about no other: it is evaluated once.
            _ if !self.expression.is_about_any() => vec![""],
            Some(vaultlet) => vec![vaultlet],
            None => names,
        };
        let mut figures = Vec::new();
        let mut missing = Vec::new();
        let mut came_true = false;
        for target in about {
            match self.expression.evaluate(result, target, &mut figures) {
                Ok(value) => came_true |= value == Value::Truth(true),
                Err(problem) => missing.push(problem),
            }
        }
        let decided = missing.is_empty() && !figures.is_empty();
        let measured = match (decided, missing.is_empty()) {
            (true, _) => figures.join(", "),
            (false, false) => missing.join("; "),
            (false, true) => "nothing was measured".to_owned(),
        };
        Condition { text: self.text.clone(), came_true: decided.then_some(came_true), measured }
    }
}

impl fmt::Display for FailIf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
