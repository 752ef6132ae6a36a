//! Tables without borders, and the details of one object. Text in, text out; never writes anywhere.
//!
//! What comes from a server or a plugin may hold anything: control characters are shown as `?`, so that no message can
//! move the cursor or end a line.

use comfy_table::Table;

/// Longest cell; longer ones are cut with `…`. The whole text is in `-o json`.
const CELL_CHARS_MAX: usize = 160;

/// Renders rows under their headers, columns two spaces apart, no line ends in spaces.
pub(crate) fn render(headers: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(headers.iter().copied());
    for row in rows {
        table.add_row(row.iter().map(|cell| cut(&plain(cell))));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// Renders `label: value` lines with the values under each other. Lines of a longer value are indented below it.
pub(crate) fn details(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(label, _)| label.len() + 1).max().unwrap_or(0);
    let mut text = String::new();
    for (label, value) in fields {
        let mut lines = value.lines();
        let label = format!("{label}:");
        text.push_str(format!("{label:width$} {}", plain(lines.next().unwrap_or("-"))).trim_end());
        text.push('\n');
        for line in lines {
            text.push_str(format!("{:width$} {}", "", plain(line)).trim_end());
            text.push('\n');
        }
    }
    text
}

/// The text without control characters.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A cell for something that may be missing.
pub(crate) fn or_dash(text: impl Into<Option<String>>) -> String {
    text.into()
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "-".to_owned())
}

fn cut(text: &str) -> String {
    if text.chars().count() <= CELL_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_are_aligned_without_borders() {
        let text = render(
            &["NAME", "SIZE", "NODE"],
            &[row(&["data", "10GiB", "node-1"]), row(&["a-longer-name", "1MiB", "-"])],
        );
        assert_eq!(
            text,
            "NAME           SIZE   NODE\n\
             data           10GiB  node-1\n\
             a-longer-name  1MiB   -\n"
        );
    }

    #[test]
    fn an_empty_table_has_its_headers() {
        assert_eq!(render(&["NAME", "SIZE"], &[]), "NAME  SIZE\n");
    }

    #[test]
    fn foreign_text_cannot_break_the_table() {
        let text = render(
            &["NAME", "WHY"],
            &[
                row(&["a", "red\u{1b}[31m\nforged  line"]),
                row(&["b", &"x".repeat(500)]),
            ],
        );
        assert_eq!(text.lines().count(), 3);
        assert!(!text.contains('\u{1b}'));
        assert!(text.lines().all(|line| line.chars().count() <= CELL_CHARS_MAX + 10));
    }

    #[test]
    fn details_line_up() {
        let text = details(&[
            ("name", "data".into()),
            ("conditions", "one\ntwo".into()),
            ("pool", String::new()),
        ]);
        assert_eq!(
            text,
            "name:       data\nconditions: one\n            two\npool:       -\n"
        );
    }
}
