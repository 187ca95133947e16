//! How a command fails: an exit code and one sentence on standard error.

use std::io;
use std::process::ExitCode;

use crate::escape::escape_message;

/// Exit codes of mount(8), which umount and mount share.
pub(crate) mod mount_code {
    /// The call makes no sense: a wrong option, a missing argument.
    pub(crate) const USAGE: u8 = 1;
    /// The system failed: no memory, no process, no pipe.
    pub(crate) const SYSTEM: u8 = 2;
    /// Mounting or unmounting failed.
    pub(crate) const FAILED: u8 = 32;
}

/// What every command returns.
pub(crate) type CommandResult = Result<ExitCode, Failure>;

/// An error and the exit code it ends the program with.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    /// Ends the program with `code`.
    pub(crate) fn with_code(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self {
            code,
            error: error.into(),
        }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// The sentence, without the program's name.
    pub(crate) fn sentence(&self) -> String {
        sentence(&self.error)
    }

    /// Prints the sentence, unless the reader of our output has merely gone away.
    pub(crate) fn report(&self) -> ExitCode {
        if is_broken_pipe(&self.error) {
            return ExitCode::SUCCESS;
        }
        complain(&self.sentence());
        ExitCode::from(self.code)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::with_code(1, error)
    }
}

/// Prints one sentence to standard error. A closed standard error is no reason to stop.
pub(crate) fn complain(sentence: &str) {
    use std::io::Write;
    let line = format!("extmap: {}\n", escape_message(sentence));
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Joins an error and its causes, leaving out causes whose words the error
/// already contains (the libraries' messages include their sources).
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    let mut sentence = String::new();
    for cause in error.chain() {
        let words = without_numbers(&cause.to_string());
        if sentence.contains(&words) {
            continue;
        }
        if !sentence.is_empty() {
            sentence.push_str(": ");
        }
        sentence.push_str(&words);
    }
    sentence
}

/// Takes out what Rust adds to the system's words: " (os error 2)".
fn without_numbers(words: &str) -> String {
    const START: &str = " (os error ";
    let mut plain = String::with_capacity(words.len());
    let mut rest = words;
    while let Some((before, after)) = rest.split_once(START) {
        plain.push_str(before);
        match after.split_once(')') {
            Some((number, after)) if number.bytes().all(|b| b.is_ascii_digit()) => rest = after,
            _ => {
                plain.push_str(START);
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_cause_is_not_said_twice() {
        let inner = io::Error::other("no luck");
        let error = Err::<(), _>(inner).context("a.img: no luck").unwrap_err();
        assert_eq!(sentence(&error), "a.img: no luck");
    }

    #[test]
    fn causes_follow_their_context() {
        let inner = io::Error::other("no luck");
        let error = Err::<(), _>(inner).context("a.img").unwrap_err();
        assert_eq!(sentence(&error), "a.img: no luck");
    }

    #[test]
    fn numbers_of_the_system_are_left_out() {
        let plain = without_numbers("cannot open a: No such file (os error 2): x");
        assert_eq!(plain, "cannot open a: No such file: x");
        for words in ["a (os error", "b (os error x)", "", " (os error "] {
            assert_eq!(without_numbers(words), words);
        }
    }

    #[test]
    fn a_broken_pipe_ends_quietly() {
        let gone = io::Error::from(io::ErrorKind::BrokenPipe);
        let error = anyhow::Error::from(gone).context("x");
        assert!(is_broken_pipe(&error));
        assert!(!is_broken_pipe(&anyhow::anyhow!("x")));
    }
}
