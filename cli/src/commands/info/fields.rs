//! Labelled values, rendered as dumpe2fs lines or as JSON.

use std::fmt::{Display, Write};

use serde_json::{Map, Value};

use crate::when::ctime;

/// Column at which dumpe2fs prints values.
const VALUE_COLUMN: usize = 26;

/// One line of text, one member of an object.
#[derive(Debug, Clone, PartialEq)]
struct Field {
    label: &'static str,
    text: String,
    key: &'static str,
    json: Value,
}

/// Fields in dumpe2fs's order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fields(Vec<Field>);

impl Fields {
    /// Adds a value whose text differs from its JSON.
    pub(super) fn add(
        &mut self,
        label: &'static str,
        text: impl Display,
        key: &'static str,
        json: impl Into<Value>,
    ) {
        self.0.push(Field {
            label,
            text: text.to_string(),
            key,
            json: json.into(),
        });
    }

    /// Adds a number.
    pub(super) fn number(&mut self, label: &'static str, key: &'static str, n: impl Into<u64>) {
        let n = n.into();
        self.add(label, n, key, n);
    }

    /// Adds a number unless it is 0, which stands for "none".
    pub(super) fn number_if_set(
        &mut self,
        label: &'static str,
        key: &'static str,
        n: impl Into<u64>,
    ) {
        let n = n.into();
        if n != 0 {
            self.number(label, key, n);
        }
    }

    /// Adds a text.
    pub(super) fn text_value(&mut self, label: &'static str, key: &'static str, text: &str) {
        self.add(label, text, key, text);
    }

    /// Adds a point in time: the user's time zone in text, seconds in JSON.
    pub(super) fn time(&mut self, label: &'static str, key: &'static str, seconds: i64) {
        self.add(label, ctime(seconds), key, seconds);
    }

    /// Adds a hexadecimal number: text with leading zeros, a JSON number.
    pub(super) fn hex32(&mut self, label: &'static str, key: &'static str, n: u32) {
        self.add(label, format_args!("{n:#010x}"), key, n);
    }

    /// Adds names, `(none)` in text if there are none.
    pub(super) fn names(&mut self, label: &'static str, key: &'static str, names: &[String]) {
        let text = if names.is_empty() {
            "(none)".to_owned()
        } else {
            names.join(" ")
        };
        self.add(label, text, key, names.to_vec());
    }

    /// True if there is nothing to print.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One line a field.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for field in &self.0 {
            // dumpe2fs has tabs in two of its labels; scripts match on them.
            let width = if field.label.contains('\t') {
                0
            } else {
                VALUE_COLUMN
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{:<width$}{}", field.label, field.text);
        }
        text
    }

    /// One member a field.
    pub(super) fn into_json(self) -> Map<String, Value> {
        let members = self.0.into_iter();
        members
            .map(|field| (field.key.to_owned(), field.json))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_as_dumpe2fs_does() {
        let mut fields = Fields::default();
        fields.number("Inode count:", "inode_count", 16_u32);
        fields.names("Features:", "features", &[]);
        fields.add("Inode size:\t          ", 256, "inode_size", 256);
        fields.number_if_set("First orphan inode:", "first_orphan", 0_u32);
        assert_eq!(
            fields.text(),
            "Inode count:              16\n\
             Features:                 (none)\n\
             Inode size:\t          256\n"
        );
        assert_eq!(fields.into_json().len(), 3);
    }
}
