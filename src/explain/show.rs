//! An explanation for people: a line for each thing, aligned.

use std::fmt;

use super::Explanation;

pub(super) fn explanation(it: &Explanation, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut line = |name: &str, text: &str| writeln!(f, "{name:<12}{text}");
    line(it.decision, &it.because)?;
    if let Some(rule) = &it.rule {
        line("rule", rule)?;
    }
    line("who", &it.who)?;
    if let Some(role) = &it.role {
        line("role", role)?;
    }
    line("asks", &format!("{} {}", it.operation, it.path))?;
    line("policies", &if it.policies.is_empty() { "none".into() } else { it.policies.join(", ") })?;
    line("guardrails", &it.guardrails)?;
    line("cache", &it.cache)?;
    for note in &it.notes {
        line("note", note)?;
    }
    Ok(())
}
