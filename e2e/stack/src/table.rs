//! Tables for people: columns as wide as their widest cell, numbers to the right. Pure.

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// One without rows.
    pub fn new(heads: &[&str]) -> Self {
        Self { heads: heads.iter().map(|head| (*head).to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row. Cells that are missing are empty; those beyond the last column are left out.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().chain(std::iter::repeat(String::new()));
        self.rows.push(cells.take(self.heads.len()).collect());
    }

    /// For a terminal: the heads, then each row, without line breaks.
    pub fn lines(&self) -> Vec<String> {
        let columns = self.columns();
        let line = |cells: &Vec<String>| {
            let cells: Vec<String> = cells.iter().zip(&columns).map(|(cell, column)| column.padded(cell)).collect();
            cells.join("  ").trim_end().to_owned()
        };
        std::iter::once(&self.heads).chain(&self.rows).map(line).collect()
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        self.lines().into_iter().map(|line| line + "\n").collect()
    }

    /// For a document.
    pub fn markdown(&self) -> String {
        let columns = self.columns();
        let line = |cells: &Vec<String>| {
            let cells = cells.iter().zip(&columns).map(|(cell, column)| format!(" {} |", column.padded(cell)));
            format!("|{}\n", cells.collect::<String>())
        };
        let rule = columns.iter().map(|column| match column.right {
            true => format!("{}:|", "-".repeat(column.width + 1)),
            false => format!("{}|", "-".repeat(column.width + 2)),
        });
        let rule = format!("|{}\n", rule.collect::<String>());
        line(&self.heads) + &rule + &self.rows.iter().map(line).collect::<String>()
    }

    fn columns(&self) -> Vec<Column> {
        let column = |(index, head): (usize, &String)| {
            let cells = || self.rows.iter().filter_map(move |row| row.get(index));
            let widths = cells().chain([head]).map(|cell| cell.chars().count());
            Column {
                width: widths.max().unwrap_or(0),
                right: !self.rows.is_empty() && cells().all(|cell| is_number(cell)),
            }
        };
        self.heads.iter().enumerate().map(column).collect()
    }
}

struct Column {
    width: usize,
    right: bool,
}

impl Column {
    fn padded(&self, cell: &str) -> String {
        let width = self.width;
        if self.right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
    }
}

/// Whether it is one, with or without a unit, or stands for one that is missing.
fn is_number(cell: &str) -> bool {
    cell == "-" || cell.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_nothing_at_the_end_of_a_line() {
        let mut table = Table::new(&["what", "many", "why"]);
        table.row(["one", "7", ""].map(str::to_owned));
        table.row(["two", "1,000"].map(str::to_owned));
        assert_eq!(table.text(), "what   many  why\none       7\ntwo   1,000\n");
        assert_eq!(Table::new(&["what", "many"]).text(), "what  many\n");
    }

    #[test]
    fn in_a_document_numbers_stand_to_the_right() {
        let mut table = Table::new(&["what", "many"]);
        table.row(["one", "7"].map(str::to_owned));
        table.row(["two", "1,000"].map(str::to_owned));
        assert_eq!(table.markdown(), "| what |  many |\n|------|------:|\n| one  |     7 |\n| two  | 1,000 |\n");
    }
}
