//! How are columns aligned, and what is coloured?

/// Rows under heads.
#[derive(Default)]
pub(super) struct Table {
    /// And whether a column is of numbers.
    heads: Vec<(String, bool)>,
    rows: Vec<Vec<(String, Colour)>>,
}

/// Of a cell.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Colour {
    None,
    Good,
    Bad,
}

impl Colour {
    pub(super) fn of(self, text: &str, colours: bool) -> String {
        match self {
            Self::Good if colours => format!("\u{1b}[32m{text}\u{1b}[0m"),
            Self::Bad if colours => format!("\u{1b}[31m{text}\u{1b}[0m"),
            _ => text.to_owned(),
        }
    }
}

impl Table {
    /// A column that begins with `#` is of numbers.
    pub(super) fn new(heads: &[&str]) -> Self {
        let heads = heads
            .iter()
            .map(|head| (head.trim_start_matches('#').to_owned(), head.starts_with('#')))
            .collect();
        Self { heads, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<(String, Colour)>) {
        let plain = |(text, colour): (String, Colour)| (super::plain(&text), colour);
        self.rows.push(cells.into_iter().map(plain).collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn written(&self, colours: bool) -> String {
        let widths: Vec<usize> = self
            .heads
            .iter()
            .enumerate()
            .map(|(index, (head, _))| {
                let cells = self.rows.iter().filter_map(|row| row.get(index));
                cells.map(|(text, _)| text.chars().count()).chain([head.chars().count()]).max()
            })
            .map(Option::unwrap_or_default)
            .collect();
        let line = |cells: &[(String, Colour)]| {
            let cells = cells.iter().zip(&widths).zip(&self.heads).map(|((cell, width), head)| {
                let (text, colour) = cell;
                let padding = " ".repeat(width - text.chars().count());
                let text = colour.of(text, colours);
                if head.1 { format!("{padding}{text}") } else { format!("{text}{padding}") }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
        let heads: Vec<_> =
            self.heads.iter().map(|(head, _)| (head.clone(), Colour::None)).collect();
        let rows = self.rows.iter().map(|row| line(row));
        std::iter::once(line(&heads)).chain(rows).collect()
    }
}
