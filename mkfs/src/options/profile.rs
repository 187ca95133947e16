//! The syntax of mke2fs.conf, and the defaults that are built in.
//!
//! ```text
//! # A comment, also at the end of a line; `;` begins one as well.
//! [section]
//!     relation = value
//!     quoted = "value # with ; marks"
//!     stanza = {
//!         relation = value
//!     }
//! ```
//!
//! A section may be opened again and goes on then. Where mke2fs silently takes
//! the first of two equal relations, or overlooks what stands outside a section
//! or a brace that is never closed, this parser refuses the line by its number.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::{Error, Result};

/// What the program is built with, in the same syntax.
const BUILT_IN: &str = include_str!("defaults.conf");

/// Stanzas in stanzas beyond this are no profile.
const DEPTH_MAX: usize = 8;

/// Default values by file system type and usage type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    sections: BTreeMap<String, Stanza>,
}

/// A section, or what stands in braces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stanza {
    pub(super) relations: BTreeMap<String, String>,
    pub(super) stanzas: BTreeMap<String, Stanza>,
}

impl Profile {
    /// mke2fs 1.47's own profile.
    ///
    /// # Errors
    /// None in fact: the text is part of the program and tested with it.
    pub fn built_in() -> Result<Self> {
        BUILT_IN.parse()
    }

    pub(super) fn section(&self, name: &str) -> Option<&Stanza> {
        self.sections.get(name)
    }

    /// Names of all sections.
    pub(super) fn sections(&self) -> impl Iterator<Item = &str> {
        self.sections.keys().map(String::as_str)
    }

    /// The stanza of a file system type or usage type.
    pub(super) fn fs_type(&self, name: &str) -> Option<&Stanza> {
        self.section("fs_types")?.stanzas.get(name)
    }
}

impl FromStr for Profile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parser = Parser::default();
        for (index, line) in text.lines().enumerate() {
            let line = without_comment(line).trim();
            parser.line(line).map_err(|why| {
                Error::Option(format!("line {} of the profile: {why}", index + 1))
            })?;
        }
        parser.finish()
    }
}

#[derive(Default)]
struct Parser {
    sections: BTreeMap<String, Stanza>,
    section: Option<String>,
    /// Stanzas that are open, outermost first, with their names.
    open: Vec<(String, Stanza)>,
    /// The name of a stanza whose brace is expected on the next line.
    awaited: Option<String>,
}

type LineResult = std::result::Result<(), String>;

impl Parser {
    fn line(&mut self, line: &str) -> LineResult {
        if line.is_empty() {
            return Ok(());
        }
        if let Some(name) = self.awaited.take() {
            return match line {
                "{" => self.open(name),
                _ => Err(format!("{name:?} has no value")),
            };
        }
        if let Some(header) = line.strip_prefix('[') {
            return self.header(header);
        }
        if line == "}" {
            return self.close();
        }
        let Some((name, value)) = line.split_once('=') else {
            return Err(format!("{line:?} is not \"name = value\""));
        };
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(format!("{name:?} is not a name"));
        }
        match value {
            "" => self.awaited = Some(name.to_owned()),
            "{" => self.open(name.to_owned())?,
            value => {
                let value = unquoted(value)?;
                let stanza = self.innermost()?;
                if stanza.relations.insert(name.to_owned(), value).is_some() {
                    return Err(format!("{name:?} is said twice"));
                }
            }
        }
        Ok(())
    }

    fn header(&mut self, header: &str) -> LineResult {
        if let Some((name, _)) = self.open.last() {
            return Err(format!("the brace of {name:?} is not closed"));
        }
        let name = header
            .strip_suffix(']')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .ok_or_else(|| format!("\"[{header}\" is not a section header"))?;
        self.sections.entry(name.to_owned()).or_default();
        self.section = Some(name.to_owned());
        Ok(())
    }

    fn open(&mut self, name: String) -> LineResult {
        if self.open.len() >= DEPTH_MAX {
            return Err("too many braces in one another".to_owned());
        }
        if self.innermost()?.stanzas.contains_key(&name) {
            return Err(format!("{name:?} is said twice"));
        }
        self.open.push((name, Stanza::default()));
        Ok(())
    }

    fn close(&mut self) -> LineResult {
        let (name, stanza) = self
            .open
            .pop()
            .ok_or_else(|| "there is no brace to close".to_owned())?;
        self.innermost()?.stanzas.insert(name, stanza);
        Ok(())
    }

    /// Where the next relation goes.
    fn innermost(&mut self) -> std::result::Result<&mut Stanza, String> {
        let section = self.section.as_ref();
        match self.open.last_mut() {
            Some((_, stanza)) => Ok(stanza),
            None => section
                .and_then(|section| self.sections.get_mut(section))
                .ok_or_else(|| "nothing may stand before the first section".to_owned()),
        }
    }

    fn finish(self) -> Result<Profile> {
        if let Some((name, _)) = self.open.last() {
            return Err(Error::Option(format!(
                "the profile ends before the brace of {name:?} is closed"
            )));
        }
        if let Some(name) = self.awaited {
            return Err(Error::Option(format!(
                "the profile ends before {name:?} has a value"
            )));
        }
        Ok(Profile {
            sections: self.sections,
        })
    }
}

/// The line up to a `#` or `;` that is not in quotes.
fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    let end = line.find(|c: char| {
        quoted ^= c == '"';
        !quoted && matches!(c, '#' | ';')
    });
    end.and_then(|end| line.get(..end)).unwrap_or(line)
}

fn unquoted(value: &str) -> std::result::Result<String, String> {
    let Some(rest) = value.strip_prefix('"') else {
        return Ok(value.to_owned());
    };
    rest.strip_suffix('"')
        .filter(|inner| !inner.contains(['"', '\\']))
        .map(str::to_owned)
        .ok_or_else(|| format!("{value} is not one text in quotes (without escapes)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Profile> {
        text.parse()
    }

    #[test]
    fn relations_stanzas_and_comments_are_read() {
        let profile = parse(
            "# head\n[defaults] # x\nblocksize=2048 ; two\n\n[fs_types]\n a = {\n q = \"1 # 2\"\n\
             \tb =\n{\n c = d\n}\n}\n[defaults]\nerrors = panic\n",
        )
        .unwrap();
        let defaults = &profile.section("defaults").unwrap().relations;
        assert_eq!(defaults["blocksize"], "2048");
        assert_eq!(defaults["errors"], "panic");
        let a = profile.fs_type("a").unwrap();
        assert_eq!(a.relations["q"], "1 # 2");
        assert_eq!(a.stanzas["b"].relations["c"], "d");
        assert_eq!(profile.fs_type("none"), None);
    }

    #[test]
    fn faults_are_refused_with_their_line() {
        for (text, line) in [
            ("[defaults]\nblocksize\n", "line 2"),
            ("blocksize = 1\n", "line 1"),
            ("[a]\n}\n", "line 2"),
            ("[a]\nb c = d\n", "line 2"),
            ("[a]\n = d\n", "line 2"),
            ("[a\n", "line 1"),
            ("[]\n", "line 1"),
            ("[a]\nb = c\nb = d\n", "line 3"),
            ("[a]\nb = {\n}\nb = {\n}\n", "line 4"),
            ("[a]\nb = {\n[c]\n", "line 3"),
            ("[a]\nb =\nc = d\n", "line 3"),
            ("[a]\nb = \"c\n", "line 2"),
            ("[a]\nb = {\nc = d }\n", "ends before"),
            ("[a]\nb = {\nc = d\n", "ends before"),
            ("[a]\nb =\n", "ends before"),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(line), "{text:?}: {message}");
        }
        let deep = format!("[a]\n{}", "b = {\n".repeat(1000));
        assert!(parse(&deep).is_err());
    }

    #[test]
    fn the_built_in_profile_has_the_usage_types() {
        let profile = Profile::built_in().unwrap();
        for name in [
            "ext3",
            "ext4",
            "small",
            "floppy",
            "big",
            "huge",
            "news",
            "largefile",
            "largefile4",
            "hurd",
        ] {
            assert!(profile.fs_type(name).is_some(), "{name}");
        }
    }
}
