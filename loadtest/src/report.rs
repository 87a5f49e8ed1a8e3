//! How is a result shown to people: one page that needs nothing but a browser?
//!
//! The verdict and the key figures come first, then plots, each with its numbers in a table. There
//! is no script in it and nothing is fetched, so it can be mailed, kept with a build, and opened
//! anywhere.

use std::path::Path;

use crate::result::{self, Result as Measured, Target};

mod bars;
mod html;
mod latency;
mod plan;
mod plot;
mod summary;
mod time;

use html::{Html, Text};
use plot::Names;

const STYLE: &str = include_str!("report/style.css");

/// Writes the page, whole or not at all.
pub(crate) fn write(result: &Measured, path: &Path) -> Result<(), String> {
    result::replace(path, page(result).as_bytes())
}

/// The page: HTML with everything in it.
pub(crate) fn page(result: &Measured) -> String {
    let mut names = Names::default();
    let mut html = Html::default();
    html.add(format_args!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{} · vaultlet-loadtest</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        Text(&result.scenario.name)
    ));
    html.add(format_args!("{}", summary::head(result)));
    html.add(format_args!("{}", summary::summary(result)));
    if let Some(plan) = &result.plan {
        html.add(format_args!("{}", plan::section(plan, &mut names)));
    }
    html.add(format_args!("{}", bars::section(result, &mut names)));
    html.add(format_args!("{}", latency::section(result, &mut names)));
    html.add(format_args!("{}", time::section(result, &mut names)));
    html.add(format_args!("{}", summary::numbers(result)));
    html.add(format_args!("</main>\n</body>\n</html>\n"));
    html.into_string()
}

/// A plot in all its widths, with what it is called, where its section does not say, and how it is
/// read.
fn figure(title: &str, about: &str, plots: &[Html]) -> Html {
    let mut html = Html::default();
    html.add(format_args!("<figure><figcaption>"));
    if !title.is_empty() {
        html.add(format_args!("<h3>{}</h3>", Text(title)));
    }
    html.add(format_args!("<p>{}</p></figcaption>\n", Text(about)));
    for plot in plots {
        html.add(format_args!("{plot}"));
    }
    html.add(format_args!("</figure>\n"));
    html
}

/// The colour of each target: the usual ones always have the same.
fn colours(targets: &[Target]) -> Vec<&'static str> {
    const USUAL: [(&str, &str); 5] = [
        ("vaultlet", "t0"),
        ("direct", "t1"),
        ("openbao-proxy", "t2"),
        ("nginx", "t3"),
        ("bare", "t4"),
    ];
    let usual = |target: &Target| {
        USUAL.iter().find(|(name, _)| *name == target.name).map(|(_, colour)| *colour)
    };
    let taken: Vec<&str> = targets.iter().filter_map(usual).collect();
    let mut free = USUAL.iter().map(|(_, colour)| *colour).filter(|colour| !taken.contains(colour));
    targets.iter().map(|target| usual(target).or_else(|| free.next()).unwrap_or("t5")).collect()
}

/// The one that a report is about: vaultlet, or the first.
fn protagonist(targets: &[Target]) -> Option<&Target> {
    targets.iter().find(|target| target.name == "vaultlet").or_else(|| targets.first())
}

#[cfg(test)]
mod tests;
