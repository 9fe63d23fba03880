//! Columns that line up. Pure.

use super::out::{Style, printable};

/// Rows under a heading; columns with numbers stand to the right.
#[derive(Debug)]
pub(super) struct Table {
    heading: Vec<String>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// `>` before a heading puts its column to the right.
    pub(super) fn new(heading: &[&str]) -> Self {
        let right = heading.iter().map(|word| word.starts_with('>')).collect();
        let heading = heading.iter().map(|word| word.trim_start_matches('>').to_owned()).collect();
        Self { heading, right, rows: Vec::new() }
    }

    /// Adds a row; its texts may come from elsewhere.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    /// Rows alone, where the heading stands above already.
    pub(super) fn show_rows(&self) -> String {
        self.rows.iter().map(|row| self.line(row) + "\n").collect()
    }

    /// Heading and rows, each line behind `indent`; empty without rows.
    pub(super) fn show(&self, style: Style, indent: &str) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let heading = style.dim(&self.line(&self.heading));
        let rows = self.rows.iter().map(|row| self.line(row));
        std::iter::once(heading).chain(rows).map(|line| format!("{indent}{line}\n")).collect()
    }

    fn line(&self, cells: &[String]) -> String {
        let padded = cells.iter().enumerate().map(|(at, cell)| self.padded(at, cell));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    }

    fn padded(&self, column: usize, cell: &str) -> String {
        let width = self.width(column);
        match self.right.get(column) {
            Some(true) => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        }
    }

    fn width(&self, column: usize) -> usize {
        let cells = std::iter::once(&self.heading).chain(&self.rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_to_the_right() {
        let mut table = Table::new(&["NAME", ">FILES", "SITE"]);
        table.row(["Lyon".to_owned(), "7".to_owned(), "é".to_owned()]);
        table.row(["Le Havre".to_owned(), "1234567".to_owned(), "x\n".to_owned()]);
        let expected = "  NAME        FILES  SITE\n  Lyon            7  é\n  Le Havre  1234567  x\u{fffd}\n";
        assert_eq!(table.show(Style::Plain, "  "), expected);
        assert_eq!(table.show_rows(), "Lyon            7  é\nLe Havre  1234567  x\u{fffd}\n");
        assert_eq!(Table::new(&["NAME"]).show(Style::Plain, ""), "");
    }
}
