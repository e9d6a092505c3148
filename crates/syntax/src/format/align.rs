//! Elastic tab stops: a column is a run of adjacent rows that all have a terminated cell at that place; it is as wide
//! as its widest cell.

use super::pieces::Row;

/// Blanks between a cell and the next.
const PADDING: usize = 1;

/// How wide a tab counts, for cells of indentation that are wider than one tab.
const TAB_WIDTH: usize = 8;

/// The text of all rows.
pub(super) fn align(rows: Vec<Row>) -> String {
    let mut text = String::new();
    let mut section = Vec::new();
    for row in rows {
        // A row without columns separates those above from those below.
        let ends = row.ends_columns || row.cells.len() == 1;
        section.push(row);
        if ends {
            write_section(&section, &mut text);
            section.clear();
        }
    }
    write_section(&section, &mut text);
    text
}

fn write_section(rows: &[Row], text: &mut String) {
    for (row, widths) in rows.iter().zip(&measured(rows)) {
        write_row(row, widths, text);
    }
}

/// The widths of each row's terminated cells. A list of runs to do instead of recursion: a row may have thousands of
/// cells.
fn measured(rows: &[Row]) -> Vec<Vec<usize>> {
    let mut widths: Vec<Vec<usize>> = rows.iter().map(|row| Vec::with_capacity(row.cells.len())).collect();
    let mut todo = vec![(0..rows.len(), 0)];
    while let Some((range, column)) = todo.pop() {
        let mut start = range.start;
        while start < range.end {
            let has_column = |row: &&Row| row.cells.len() > column + 1;
            let run = start..start + rows[start..range.end].iter().take_while(has_column).count();
            start = run.end.max(start + 1);
            if !run.is_empty() {
                let width = column_width(&rows[run.clone()], column);
                widths[run.clone()].iter_mut().for_each(|row| row.push(width));
                todo.push((run, column + 1));
            }
        }
    }
    widths
}

/// A column in which no cell has text takes no space, unless one counts nevertheless.
fn column_width(rows: &[Row], column: usize) -> usize {
    let cells = || rows.iter().filter_map(|row| row.cells.get(column));
    if cells().all(|cell| cell.text.is_empty() && !cell.counts_if_empty) {
        return 0;
    }
    cells().map(|cell| last_line_width(&cell.text)).max().unwrap_or(0) + PADDING
}

fn write_row(row: &Row, widths: &[usize], text: &mut String) {
    let start = text.len();
    let mut indenting = true;
    for (index, cell) in row.cells.iter().enumerate() {
        let width = widths.get(index).copied();
        if cell.text.is_empty() && indenting {
            let tabs = width.unwrap_or(0).div_ceil(TAB_WIDTH);
            text.extend(std::iter::repeat_n('\t', tabs));
            continue;
        }
        indenting = false;
        text.push_str(&cell.text);
        let padding = width.map_or(0, |width| width.saturating_sub(last_line_width(&cell.text)));
        text.extend(std::iter::repeat_n(' ', padding));
    }
    let end = text[start..].trim_end_matches([' ', '\t']).len();
    text.truncate(start + end);
    text.push('\n');
}

/// In characters, as Go's tabwriter counts.
fn last_line_width(text: &str) -> usize {
    text.rsplit('\n').next().unwrap_or_default().chars().count()
}
