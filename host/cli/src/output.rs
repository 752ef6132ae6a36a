//! What goes to stdout: lists and objects in the form that was asked for, and nothing else. Messages go to stderr.

use std::io::{self, Write as _};

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use crate::failure::Failure;
use crate::table;

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    Table,
    /// The table with more columns.
    Wide,
    /// The objects of the API; a list is an array, a stream is one object a line.
    Json,
    /// The same as YAML; a stream is separate documents.
    Yaml,
    /// The names alone, one a line: for scripts.
    Name,
}

/// Something that has a line in a table.
pub(crate) trait Listed: Serialize {
    /// The columns, those of `-o wide` last.
    const HEADERS: &'static [&'static str];
    /// How many columns the narrow table has.
    const NARROW: usize;

    /// One cell a column.
    fn cells(&self, now: Timestamp) -> Vec<String>;
    /// What `-o name` prints: what the other verbs take.
    fn name(&self) -> String;
    /// The fields of `show`; the cells under their headers when not said otherwise.
    fn details(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        Self::HEADERS.iter().copied().zip(self.cells(now)).collect()
    }
}

/// Writes results to stdout and remarks to stderr.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// The form.
    pub(crate) format: Format,
    /// Nothing on stderr but errors.
    pub(crate) quiet: bool,
}

impl Output {
    /// Writes a list.
    pub(crate) fn list<T: Listed>(self, items: &[T]) -> Result<(), Failure> {
        self.list_at(items, Timestamp::now()).and_then(|text| put(&text))
    }

    /// Writes one object with all its fields.
    pub(crate) fn object<T: Listed>(self, item: &T) -> Result<(), Failure> {
        self.object_at(item, Timestamp::now()).and_then(|text| put(&text))
    }

    /// Writes any value; `text` for those who asked for a table, `name` for those who asked for names.
    pub(crate) fn value(self, value: &impl Serialize, text: &str, name: &str) -> Result<(), Failure> {
        put(&match self.format {
            Format::Table | Format::Wide => text.to_owned(),
            Format::Name => line(name),
            Format::Json => json(value)?,
            Format::Yaml => yaml(value)?,
        })
    }

    /// Writes one item of a stream: a line, a JSON line, or a YAML document.
    pub(crate) fn item(self, value: &impl Serialize, text: &str, name: &str) -> Result<(), Failure> {
        put(&match self.format {
            Format::Table | Format::Wide => text.to_owned(),
            Format::Name => line(name),
            Format::Json => line(&serde_json::to_string(value).map_err(|error| unwritable(&error))?),
            Format::Yaml => format!("---\n{}", yaml(value)?),
        })
    }

    /// After a change: one sentence on stderr, and on stdout the object for those who asked for a machine's form.
    pub(crate) fn changed<T: Listed>(self, item: &T, sentence: &str) -> Result<(), Failure> {
        self.remark(sentence);
        match self.format {
            Format::Table | Format::Wide => Ok(()),
            Format::Json | Format::Yaml | Format::Name => self.object(item),
        }
    }

    /// Whether a program reads it, which must find an empty list too.
    pub(crate) const fn is_for_machines(self) -> bool {
        matches!(self.format, Format::Json | Format::Yaml)
    }

    /// A sentence for people, on stderr.
    pub(crate) fn remark(self, sentence: &str) {
        if !self.quiet {
            _ = writeln!(io::stderr(), "{}", table::plain(sentence));
        }
    }

    fn list_at<T: Listed>(self, items: &[T], now: Timestamp) -> Result<String, Failure> {
        Ok(match self.format {
            Format::Table => {
                let rows: Vec<_> = items.iter().map(|item| narrow::<T>(item.cells(now))).collect();
                table::render(&T::HEADERS[..T::NARROW], &rows)
            }
            Format::Wide => table::render(
                T::HEADERS,
                &items.iter().map(|item| item.cells(now)).collect::<Vec<_>>(),
            ),
            Format::Json => json(&items)?,
            Format::Yaml => yaml(&items)?,
            Format::Name => items.iter().map(|item| line(&item.name())).collect(),
        })
    }

    fn object_at<T: Listed>(self, item: &T, now: Timestamp) -> Result<String, Failure> {
        Ok(match self.format {
            Format::Table | Format::Wide => table::details(&item.details(now)),
            Format::Json => json(item)?,
            Format::Yaml => yaml(item)?,
            Format::Name => line(&item.name()),
        })
    }
}

/// Writes to stdout. A reader that went away (`| head`) is no error of ours: the process ends quietly.
pub(crate) fn put(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.map_err(Failure::from),
    }
}

fn narrow<T: Listed>(mut cells: Vec<String>) -> Vec<String> {
    cells.truncate(T::NARROW);
    cells
}

fn line(text: &str) -> String {
    format!("{}\n", table::plain(text))
}

fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|error| unwritable(&error))
}

fn yaml(value: &impl Serialize) -> Result<String, Failure> {
    serde_saphyr::to_string(value)
        .map(|text| if text.ends_with('\n') { text } else { text + "\n" })
        .map_err(|error| unwritable(&error))
}

fn unwritable(error: &dyn std::error::Error) -> Failure {
    Failure::caused("could not write the answer down", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Thing {
        name: &'static str,
        size_bytes: u64,
    }

    impl Listed for Thing {
        const HEADERS: &'static [&'static str] = &["NAME", "SIZE", "ID"];
        const NARROW: usize = 2;

        fn cells(&self, _now: Timestamp) -> Vec<String> {
            vec![self.name.to_owned(), self.size_bytes.to_string(), "7".to_owned()]
        }

        fn name(&self) -> String {
            self.name.to_owned()
        }
    }

    const THINGS: [Thing; 2] = [
        Thing {
            name: "a",
            size_bytes: 1,
        },
        Thing {
            name: "b",
            size_bytes: 2,
        },
    ];

    fn listed(format: Format) -> String {
        Output { format, quiet: true }
            .list_at(&THINGS, Timestamp::UNIX_EPOCH)
            .unwrap()
    }

    #[test]
    fn every_form_of_a_list() {
        assert_eq!(listed(Format::Table), "NAME  SIZE\na     1\nb     2\n");
        assert_eq!(listed(Format::Wide), "NAME  SIZE  ID\na     1     7\nb     2     7\n");
        assert_eq!(listed(Format::Name), "a\nb\n");
        let json: serde_json::Value = serde_json::from_str(&listed(Format::Json)).unwrap();
        assert_eq!(
            json,
            serde_json::json!([{"name": "a", "size_bytes": 1}, {"name": "b", "size_bytes": 2}])
        );
        assert_eq!(
            listed(Format::Yaml),
            "- name: a\n  size_bytes: 1\n- name: b\n  size_bytes: 2\n"
        );
    }

    #[test]
    fn every_form_of_an_object() {
        let shown = |format| {
            Output { format, quiet: true }
                .object_at(&THINGS[0], Timestamp::UNIX_EPOCH)
                .unwrap()
        };
        assert_eq!(shown(Format::Table), "NAME: a\nSIZE: 1\nID:   7\n");
        assert_eq!(shown(Format::Name), "a\n");
        assert_eq!(shown(Format::Yaml), "name: a\nsize_bytes: 1\n");
        assert!(shown(Format::Json).starts_with("{\n"));
    }
}
