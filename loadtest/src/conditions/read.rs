//! What does the text of a condition say?
//!
//! ```text
//! either     = both { "or" both }
//! both       = comparison { "and" comparison }
//! comparison = sum [ (">" | ">=" | "<" | "<=" | "==" | "!=") sum ]
//! sum        = product { ("+" | "-") product }
//! product    = single { ("*" | "/") single }
//! single     = NUMBER [ UNIT ] | figure | "(" either ")"
//! figure     = [ TARGET "." ] NAME "(" PHASE [ "," KIND ] ")"
//! ```

use vaultlet::config::document::nearest;

use super::expression::{Expression, Operator};
use super::figure::{Figure, Measure, Name};
use super::token::{self, Is, Token};

/// What is wrong, and at which character, from 0.
#[derive(Debug, PartialEq)]
pub(super) struct Problem {
    pub(super) at: usize,
    pub(super) what: String,
}

/// Of the base units, what a number with this unit is multiplied by, and what it measures.
const UNITS: [(&str, f64, Measure); 9] = [
    ("us", 1.0, Measure::Micros),
    ("µs", 1.0, Measure::Micros),
    ("ms", 1e3, Measure::Micros),
    ("s", 1e6, Measure::Micros),
    ("min", 60e6, Measure::Micros),
    ("%", 0.01, Measure::Share),
    ("KiB", 1024.0, Measure::Bytes),
    ("MiB", 1_048_576.0, Measure::Bytes),
    ("GiB", 1_073_741_824.0, Measure::Bytes),
];

const COMPARISONS: [(&str, Operator); 6] = [
    (">", Operator::More),
    (">=", Operator::AtLeast),
    ("<", Operator::Less),
    ("<=", Operator::AtMost),
    ("==", Operator::Equal),
    ("!=", Operator::Unequal),
];

/// Reads a whole condition.
pub(super) fn expression(
    text: &str,
    phases: &[&str],
    targets: &[&str],
) -> Result<Expression, Problem> {
    let mut reader = Reader { tokens: token::all(text)?, next: 0, phases, targets };
    let whole = reader.either()?;
    let rest = reader.peek();
    if rest.is != Is::End {
        return Err(wrong(rest.at, "expected and, or, an operator, or the end"));
    }
    match whole.is {
        Sort::Truth => Ok(whole.expression),
        Sort::Amount(..) => Err(wrong(
            rest.at,
            "this says how much, not whether; expected a comparison, as `> 5ms`",
        )),
    }
}

/// A part that was read.
struct Part {
    at: usize,
    is: Sort,
    expression: Expression,
}

/// Whether parts go together.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sort {
    Truth,
    /// The powers of time and of bytes in it.
    Amount(i8, i8),
}

struct Reader<'a> {
    tokens: Vec<Token>,
    next: usize,
    phases: &'a [&'a str],
    targets: &'a [&'a str],
}

impl Reader<'_> {
    fn either(&mut self) -> Result<Part, Problem> {
        let mut left = self.both()?;
        while self.takes_word("or") {
            let right = self.both()?;
            left = truths(Operator::Or, left, right)?;
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Part, Problem> {
        let mut left = self.comparison()?;
        while self.takes_word("and") {
            let right = self.comparison()?;
            left = truths(Operator::And, left, right)?;
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<Part, Problem> {
        let left = self.sum()?;
        let Some(operator) = self.takes_one_of(&COMPARISONS) else {
            return Ok(left);
        };
        let right = self.sum()?;
        alike(&left, &right)?;
        let at = self.peek().at;
        if self.takes_one_of(&COMPARISONS).is_some() {
            return Err(wrong(at, "a second comparison; write `a < b and b < c`"));
        }
        Ok(joined(operator, left, right, Sort::Truth))
    }

    fn sum(&mut self) -> Result<Part, Problem> {
        let mut left = self.product()?;
        while let Some(operator) =
            self.takes_one_of(&[("+", Operator::Plus), ("-", Operator::Minus)])
        {
            let right = self.product()?;
            let is = alike(&left, &right)?;
            left = joined(operator, left, right, is);
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Part, Problem> {
        let mut left = self.single()?;
        while let Some(operator) =
            self.takes_one_of(&[("*", Operator::Times), ("/", Operator::Over)])
        {
            let right = self.single()?;
            let ((time, bytes), (other_time, other_bytes)) = (amount(&left)?, amount(&right)?);
            let sign = if operator == Operator::Times { 1 } else { -1 };
            let is = Sort::Amount(
                time.saturating_add(sign * other_time),
                bytes.saturating_add(sign * other_bytes),
            );
            left = joined(operator, left, right, is);
        }
        Ok(left)
    }

    fn single(&mut self) -> Result<Part, Problem> {
        let Token { at, is } = self.peek().clone();
        match is {
            Is::Number(number) => {
                self.next += 1;
                let (factor, measure) = self.unit()?;
                let expression = Expression::Number(number * factor);
                Ok(Part { at, is: measured_in(measure), expression })
            }
            Is::Word(word) => {
                self.next += 1;
                self.figure(at, word)
            }
            Is::Sign("(") => {
                self.next += 1;
                let inside = self.either()?;
                self.expect(")", "as many of these as there are (")?;
                Ok(Part { at, ..inside })
            }
            Is::Sign(_) | Is::End => {
                Err(wrong(at, "expected a figure as p99(steady), a number as 5ms, or ("))
            }
        }
    }

    fn unit(&mut self) -> Result<(f64, Measure), Problem> {
        let Token { at, is } = self.peek().clone();
        let text = match &is {
            Is::Sign("%") => "%",
            // `5 and`, `5 or`: a number without a unit, and what comes next.
            Is::Word(word) if word != "and" && word != "or" => word,
            _ => return Ok((1.0, Measure::Plain)),
        };
        let unit = UNITS.iter().find(|(unit, _, _)| *unit == text);
        let (_, factor, measure) = unit.ok_or_else(|| {
            let units: Vec<&str> = UNITS.iter().map(|(unit, _, _)| *unit).collect();
            unknown(at, "unit", text, &units)
        })?;
        self.next += 1;
        Ok((*factor, *measure))
    }

    /// From the word on, which is a target's name or a figure's.
    fn figure(&mut self, at: usize, word: String) -> Result<Part, Problem> {
        let (target, name_at, name) = if self.takes_sign(".") {
            known(at, "target", &word, self.targets)?;
            let (name_at, name) = self.word("the name of a figure, as p99")?;
            (Some(word), name_at, name)
        } else {
            (None, at, word)
        };
        let named = Name::ALL.iter().find(|(text, _)| *text == name);
        let (_, figure) = named.ok_or_else(|| {
            let figures: Vec<&str> = Name::ALL.iter().map(|(text, _)| *text).collect();
            unknown(name_at, "figure", &name, &figures)
        })?;
        self.expect("(", "a phase, as in p99(steady)")?;
        let (phase_at, phase) = self.word("the name of a phase")?;
        known(phase_at, "phase", &phase, self.phases)?;
        let kind = if self.takes_sign(",") { Some(self.kind(&name, *figure)?) } else { None };
        self.expect(")", "the end of the figure")?;
        let figure = Figure { target, name: *figure, phase, kind };
        let is = measured_in(figure.name.measure());
        Ok(Part { at, is, expression: Expression::Figure(figure) })
    }

    fn kind(&mut self, name: &str, figure: Name) -> Result<String, Problem> {
        let (at, kind) = self.word("a kind of requests, as read")?;
        if figure.kinds().is_empty() {
            return Err(wrong(at, &format!("{name} is of all requests; leave the kind out")));
        }
        known(at, "kind of requests", &kind, figure.kinds())?;
        Ok(kind)
    }

    fn peek(&self) -> &Token {
        // The last is an end, which nothing goes past.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn takes(&mut self, wanted: &Is) -> bool {
        let there = self.peek().is == *wanted;
        self.next += usize::from(there);
        there
    }

    fn takes_word(&mut self, word: &str) -> bool {
        self.takes(&Is::Word(word.to_owned()))
    }

    fn takes_sign(&mut self, sign: &'static str) -> bool {
        self.takes(&Is::Sign(sign))
    }

    fn takes_one_of(&mut self, signs: &[(&'static str, Operator)]) -> Option<Operator> {
        signs.iter().find(|(sign, _)| self.takes_sign(sign)).map(|(_, operator)| *operator)
    }

    fn expect(&mut self, sign: &'static str, why: &str) -> Result<(), Problem> {
        let at = self.peek().at;
        if self.takes_sign(sign) {
            Ok(())
        } else {
            Err(wrong(at, &format!("expected {sign} ({why})")))
        }
    }

    fn word(&mut self, what: &str) -> Result<(usize, String), Problem> {
        match self.peek().clone() {
            Token { at, is: Is::Word(word) } => {
                self.next += 1;
                Ok((at, word))
            }
            Token { at, .. } => Err(wrong(at, &format!("expected {what}"))),
        }
    }
}

fn truths(operator: Operator, left: Part, right: Part) -> Result<Part, Problem> {
    for part in [&left, &right] {
        if part.is != Sort::Truth {
            return Err(wrong(part.at, "expected a comparison on each side of and, or"));
        }
    }
    Ok(joined(operator, left, right, Sort::Truth))
}

fn alike(left: &Part, right: &Part) -> Result<Sort, Problem> {
    let (one, other) = (amount(left)?, amount(right)?);
    if one == other {
        return Ok(left.is);
    }
    Err(wrong(
        right.at,
        &format!("expected {} here, as on the left, not {}", written(one), written(other)),
    ))
}

fn amount(part: &Part) -> Result<(i8, i8), Problem> {
    match part.is {
        Sort::Amount(time, bytes) => Ok((time, bytes)),
        Sort::Truth => Err(wrong(part.at, "a comparison has no size; expected a figure or number")),
    }
}

fn written(powers: (i8, i8)) -> &'static str {
    match powers {
        (0, 0) => "a number without a unit, or a share",
        (1, 0) => "a time, as 5ms",
        (0, 1) => "a size, as 20MiB",
        _ => "a product of units",
    }
}

fn measured_in(measure: Measure) -> Sort {
    match measure {
        Measure::Micros => Sort::Amount(1, 0),
        Measure::Bytes => Sort::Amount(0, 1),
        Measure::Share | Measure::Plain => Sort::Amount(0, 0),
    }
}

fn joined(operator: Operator, left: Part, right: Part, is: Sort) -> Part {
    let (left_at, right) = (left.at, Box::new(right.expression));
    Part {
        at: left_at,
        is,
        expression: Expression::Both(operator, Box::new(left.expression), right),
    }
}

fn wrong(at: usize, what: &str) -> Problem {
    Problem { at, what: what.to_owned() }
}

fn known(at: usize, what: &str, word: &str, known: &[&str]) -> Result<(), Problem> {
    if known.contains(&word) { Ok(()) } else { Err(unknown(at, what, word, known)) }
}

fn unknown(at: usize, what: &str, word: &str, known: &[&str]) -> Problem {
    let hint = match nearest(word, known) {
        Some(near) => format!("did you mean {near}?"),
        None if known.is_empty() => "there is none".to_owned(),
        None => format!("expected one of {}", known.join(", ")),
    };
    Problem { at, what: format!("there is no {what} {word:?}; {hint}") }
}
