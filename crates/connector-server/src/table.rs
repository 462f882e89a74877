//! Plain text tables for the output of `check` and `demo`.

use console::measure_text_width;

/// Returns one line per row, with left-aligned columns two spaces apart.
pub(crate) fn format<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> Vec<String> {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = measure_text_width(cell).max(*width);
        }
    }
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| {
            format!("{cell}{}", " ".repeat(width.saturating_sub(measure_text_width(cell))))
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_colors_have_no_width() {
        let rows = [["A", "B", ""], ["long", "\u{1b}[1mx\u{1b}[0m", "c"], ["é", "yyy", "d"]];
        let rows = rows.map(|row| row.map(str::to_owned));
        assert_eq!(format(&rows), ["A     B", "long  \u{1b}[1mx\u{1b}[0m    c", "é     yyy  d"]);
    }
}
