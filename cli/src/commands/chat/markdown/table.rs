//! A table: held back until it ends, then shown in columns.

use super::inline::{self, Piece, Style};

/// Most rows and bytes that are held back; a longer table is shown in parts.
const MAX_ROWS: usize = 200;
const MAX_BYTES: usize = 32 << 10;

/// Rows that have come so far.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<String>,
    bytes: usize,
}

impl Table {
    /// Takes a row; false when there is no room.
    pub(super) fn push(&mut self, row: &str) -> bool {
        if self.rows.len() == MAX_ROWS || self.bytes + row.len() > MAX_BYTES {
            return false;
        }
        self.bytes += row.len();
        self.rows.push(row.trim().to_owned());
        true
    }

    /// Shows the rows, and forgets them.
    pub(super) fn flush(&mut self, out: &mut String) {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        // Without the line below a header it is text with bars.
        if rows.len() < 2 || !is_separator(&rows[1]) {
            for row in rows {
                *out += &inline::painted(&inline::pieces(&row, Style::default()));
                out.push('\n');
            }
            return;
        }
        let header = Style {
            bold: true,
            ..Style::default()
        };
        let mut lines = vec![cells(&rows[0], header)];
        lines.extend(rows[2..].iter().map(|row| cells(row, Style::default())));
        let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = lines.iter().filter_map(|line| line.get(column));
                cells.map(|cell| inline::width(cell)).max().unwrap_or(0)
            })
            .collect();
        for (number, line) in lines.iter().enumerate() {
            let mut text = String::new();
            for (cell, width) in line.iter().zip(&widths) {
                text += &inline::painted(cell);
                text += &" ".repeat(width - inline::width(cell) + 2);
            }
            *out += text.trim_end();
            out.push('\n');
            if number == 0 {
                let total: usize = widths.iter().map(|width| width + 2).sum();
                let rule = "─".repeat(total.saturating_sub(2));
                let dim = Style {
                    dim: true,
                    ..Style::default()
                };
                *out += &dim.paint(&rule);
                out.push('\n');
            }
        }
    }
}

fn is_separator(row: &str) -> bool {
    row.contains('-') && row.chars().all(|c| "|-: ".contains(c))
}

fn cells(row: &str, style: Style) -> Vec<Vec<Piece>> {
    let row = row.strip_prefix('|').unwrap_or(row);
    let row = row.strip_suffix('|').unwrap_or(row);
    let mut cells = vec![String::new()];
    let mut escaped = false;
    for c in row.chars() {
        match c {
            '|' if !escaped => cells.push(String::new()),
            c => {
                if let Some(cell) = cells.last_mut() {
                    cell.push(c);
                }
            }
        }
        escaped = c == '\\' && !escaped;
    }
    cells
        .iter()
        .map(|cell| inline::pieces(cell.trim(), style))
        .collect()
}
