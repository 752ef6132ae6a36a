//! The table for people and the JSON for programs.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use crate::figure::{Aim, Figure, Values};

/// Prints the figures, aligned, on standard output.
pub(crate) fn table(figures: &[&Figure], values: &Values) -> Result<(), Box<dyn Error>> {
    let mut rows = vec![["name", "value", "unit", "aim", "", "what it is"].map(str::to_owned)];
    rows.extend(
        figures
            .iter()
            .filter_map(|figure| Some(row(figure, values.get(figure.name)?))),
    );
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut out = std::io::stdout().lock();
    for [name, value, unit, aim, verdict, what] in &rows {
        let [a, b, c, d, e, _] = widths;
        writeln!(out, "{name:a$}  {value:>b$}  {unit:c$}  {aim:d$}  {verdict:e$}  {what}")?;
    }
    Ok(())
}

fn row(figure: &Figure, value: f64) -> [String; 6] {
    let aim = match figure.aim {
        Aim::AtMost(limit) => format!("≤ {limit}"),
        Aim::AtLeast(limit) => format!("≥ {limit}"),
        Aim::None => "–".to_owned(),
    };
    let verdict = match figure.aim.is_met(value) {
        Some(true) => "met",
        Some(false) => "missed",
        None => "",
    };
    [figure.name, &number(value), figure.unit, &aim, verdict, figure.what].map(str::to_owned)
}

/// Three digits that count; more would be noise.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Writes `{name: value}`.
pub(crate) fn json(file: &Path, figures: &[&Figure], values: &Values) -> Result<(), Box<dyn Error>> {
    let entry = |figure: &&Figure| Some((figure.name.to_owned(), values.get(figure.name)?.into()));
    let object: serde_json::Map<String, serde_json::Value> = figures.iter().filter_map(entry).collect();
    let text = serde_json::to_string_pretty(&object)? + "\n";
    std::fs::write(file, text).map_err(|error| format!("{} can't be written: {error}", file.display()).into())
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_have_three_digits_that_count() {
        assert_eq!(
            [0.1234, 1.234, 12.34, 123.4, 1234.0].map(number),
            ["0.123", "1.23", "12.3", "123", "1234"]
        );
    }
}
