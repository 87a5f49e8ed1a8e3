//! What does a condition say, once it is read, and is it true?

use super::figure::Figure;
use crate::result;

/// A condition, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    /// In the base units: microseconds, bytes, shares of one.
    Number(f64),
    Figure(Figure),
    Both(Operator, Box<Expression>, Box<Expression>),
}

/// What is between two of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operator {
    Or,
    And,
    More,
    AtLeast,
    Less,
    AtMost,
    Equal,
    Unequal,
    Plus,
    Minus,
    Times,
    Over,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Truth(bool),
    Number(f64),
}

impl Expression {
    /// Whether a figure in it names no target.
    pub(super) fn is_about_any(&self) -> bool {
        match self {
            Self::Number(_) => false,
            Self::Figure(figure) => figure.target.is_none(),
            Self::Both(_, left, right) => left.is_about_any() || right.is_about_any(),
        }
    }

    /// Targets that it names.
    pub(super) fn targets(&self) -> Vec<&str> {
        match self {
            Self::Number(_) => Vec::new(),
            Self::Figure(figure) => figure.target.as_deref().into_iter().collect(),
            Self::Both(_, left, right) => [left.targets(), right.targets()].concat(),
        }
    }

    /// Of `target` where a figure names none. Says of each figure what it was; all of them must be
    /// there, even where one side of an `or` is enough. `Err` says which is not.
    pub(super) fn evaluate(
        &self,
        result: &result::Result,
        target: &str,
        figures: &mut Vec<String>,
    ) -> Result<Value, String> {
        match self {
            Self::Number(number) => Ok(Value::Number(*number)),
            Self::Figure(figure) => {
                let target = figure.target.as_deref().unwrap_or(target);
                let value = figure.of(result, target)?;
                let said = format!("{figure} of {target}: {}", figure.name.written(value));
                if !figures.contains(&said) {
                    figures.push(said);
                }
                Ok(Value::Number(value))
            }
            Self::Both(operator, left, right) => {
                let left = left.evaluate(result, target, figures);
                let right = right.evaluate(result, target, figures);
                operator.of(left?, right?)
            }
        }
    }
}

impl Operator {
    fn of(self, left: Value, right: Value) -> Result<Value, String> {
        match (left, right) {
            (Value::Truth(left), Value::Truth(right)) => {
                Ok(Value::Truth(if self == Self::Or { left || right } else { left && right }))
            }
            (Value::Number(left), Value::Number(right)) => self.of_numbers(left, right),
            // The reader lets no such thing through.
            _ => Err("a truth and a number cannot be put together".to_owned()),
        }
    }

    fn of_numbers(self, left: f64, right: f64) -> Result<Value, String> {
        let order = left.total_cmp(&right);
        Ok(match self {
            Self::More => Value::Truth(order.is_gt()),
            Self::AtLeast => Value::Truth(order.is_ge()),
            Self::Less => Value::Truth(order.is_lt()),
            Self::AtMost => Value::Truth(order.is_le()),
            Self::Equal => Value::Truth(order.is_eq()),
            Self::Unequal => Value::Truth(order.is_ne()),
            Self::Plus => Value::Number(left + right),
            Self::Minus => Value::Number(left - right),
            Self::Times => Value::Number(left * right),
            Self::Over if right == 0.0 => return Err("it divides by a figure that is 0".to_owned()),
            Self::Over => Value::Number(left / right),
            Self::Or | Self::And => return Err("and, or are between comparisons".to_owned()),
        })
    }
}
