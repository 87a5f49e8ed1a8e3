//! How is text put into a page without becoming a part of its markup?

use std::fmt::{self, Write as _};

/// HTML as it grows.
#[derive(Default)]
pub(super) struct Html(String);

impl Html {
    pub(super) fn add(&mut self, markup: fmt::Arguments<'_>) {
        // A String takes everything.
        let _ = self.0.write_fmt(markup);
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text of whoever wrote a scenario or runs a server: shown as it is, in elements and attributes.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // HTML has no way to say these.
                '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' => {
                    f.write_char('\u{fffd}')?;
                }
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A table that scrolls by itself where it is too wide.
pub(super) struct Table {
    caption: String,
    /// And whether the column is of numbers.
    columns: Vec<(String, bool)>,
    rows: Vec<Vec<Cell>>,
}

/// Of a row.
pub(super) enum Cell {
    Text(String),
    /// Held, did not, or there was nothing to say; and the words for it.
    Verdict(Option<bool>, String),
}

impl Table {
    /// A column that begins with `#` is of numbers.
    pub(super) fn new(caption: &str, columns: &[&str]) -> Self {
        let columns = columns
            .iter()
            .map(|name| match name.strip_prefix('#') {
                Some(name) => (name.to_owned(), true),
                None => ((*name).to_owned(), false),
            })
            .collect();
        Self { caption: caption.to_owned(), columns, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    pub(super) fn texts(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(Cell::Text).collect());
    }

    /// The table itself.
    pub(super) fn open(&self) -> Html {
        let mut html = Html::default();
        html.add(format_args!(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\">\
             <table><caption>{0}</caption><thead><tr>",
            Text(&self.caption)
        ));
        for (name, number) in &self.columns {
            html.add(format_args!("<th scope=\"col\"{}>{}</th>", class(*number), Text(name)));
        }
        html.add(format_args!("</tr></thead>\n<tbody>\n"));
        for row in &self.rows {
            html.add(format_args!("<tr>"));
            for (index, (cell, (_, number))) in row.iter().zip(&self.columns).enumerate() {
                cell.write(&mut html, index == 0, *number);
            }
            html.add(format_args!("</tr>\n"));
        }
        html.add(format_args!("</tbody></table></div>\n"));
        html
    }

    /// The table, closed until somebody wants it.
    pub(super) fn closed(&self) -> Html {
        let mut html = Html::default();
        html.add(format_args!(
            "<details><summary>{}</summary>{}</details>\n",
            Text(&self.caption),
            self.open()
        ));
        html
    }
}

impl Cell {
    fn write(&self, html: &mut Html, first: bool, number: bool) {
        match self {
            Self::Text(text) if first => {
                html.add(format_args!("<th scope=\"row\"{}>{}</th>", class(number), Text(text)));
            }
            Self::Text(text) => html.add(format_args!("<td{}>{}</td>", class(number), Text(text))),
            Self::Verdict(verdict, words) => {
                html.add(format_args!("<td class=\"v\">{} {}</td>", Mark(*verdict), Text(words)));
            }
        }
    }
}

fn class(number: bool) -> &'static str {
    if number { " class=\"n\"" } else { "" }
}

/// Good or not, in colour, form and word.
pub(super) struct Mark(pub(super) Option<bool>);

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Drawn, since not every font has a tick and a cross.
        let (class, path, word) = match self.0 {
            Some(true) => ("good", "M1 7l3.5 3.5L11 2", "good"),
            Some(false) => ("bad", "M2 2l8 8M10 2l-8 8", "bad"),
            None => ("none", "M2 6h8", "nothing to judge"),
        };
        write!(
            f,
            "<svg class=\"mark {class}\" viewBox=\"0 0 12 12\" role=\"img\" aria-label=\"{word}\">\
             <path d=\"{path}\"/></svg>"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let text = Text("<b title='\"'>&\u{1b}[2J").to_string();
        assert_eq!(text, "&lt;b title=&#39;&quot;&#39;&gt;&amp;\u{fffd}[2J");
    }

    #[test]
    fn a_table_says_which_cells_are_heads() {
        let mut table = Table::new("Of <things>", &["name", "#many"]);
        table.texts(["a".to_owned(), "1".to_owned()]);
        let html = table.closed().into_string();
        assert!(html.contains("<caption>Of &lt;things&gt;</caption>"), "{html}");
        assert!(html.contains("<th scope=\"row\">a</th><td class=\"n\">1</td>"), "{html}");
    }
}
