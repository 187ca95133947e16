//! Names from images nobody trusts, on terminals people trust.
//!
//! A name may hold any byte but NUL and '/'. On a terminal, control characters
//! run commands and direction marks make one name look like another, so both
//! are written as backslash escapes, as `ls -b` does. Output that is not a
//! terminal stays raw: programs want the bytes.

use std::borrow::Cow;
use std::fmt::Write;

/// `name` with control characters, direction marks, backslashes and bytes that
/// are not UTF-8 as C escapes.
pub(crate) fn escape_name(name: &[u8]) -> String {
    let mut escaped = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\\' {
                escaped.push_str("\\\\");
            } else {
                push_character(&mut escaped, character);
            }
        }
        for byte in chunk.invalid() {
            push_octal(&mut escaped, *byte);
        }
    }
    escaped
}

/// A message that may quote a name: escapes what a terminal would obey.
pub(crate) fn escape_message(message: &str) -> Cow<'_, str> {
    if !message.chars().any(is_unsafe) {
        return Cow::Borrowed(message);
    }
    let mut escaped = String::with_capacity(message.len());
    for character in message.chars() {
        push_character(&mut escaped, character);
    }
    Cow::Owned(escaped)
}

/// True for characters that a terminal acts upon instead of showing.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn push_character(escaped: &mut String, character: char) {
    match character {
        '\n' => escaped.push_str("\\n"),
        '\t' => escaped.push_str("\\t"),
        '\r' => escaped.push_str("\\r"),
        _ if is_unsafe(character) => {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                push_octal(escaped, byte);
            }
        }
        _ => escaped.push(character),
    }
}

fn push_octal(escaped: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(escaped, "\\{byte:03o}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_stay() {
        assert_eq!(escape_name("straße 1".as_bytes()), "straße 1");
        assert!(matches!(escape_message("fine"), Cow::Borrowed("fine")));
    }

    #[test]
    fn terminal_commands_do_not_reach_the_terminal() {
        assert_eq!(escape_name(b"\x1b[2Jx\n"), "\\033[2Jx\\n");
        assert_eq!(escape_message("a\x1b]0;b\x07"), "a\\033]0;b\\007");
    }

    #[test]
    fn eight_bit_controls_and_direction_marks_are_escaped() {
        assert_eq!(escape_name("\u{9b}".as_bytes()), "\\302\\233");
        assert_eq!(escape_name("a\u{202e}b".as_bytes()), "a\\342\\200\\256b");
    }

    #[test]
    fn invalid_utf8_and_backslashes_are_escaped() {
        assert_eq!(escape_name(b"a\xffb\\c"), "a\\377b\\\\c");
    }
}
