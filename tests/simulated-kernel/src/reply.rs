//! The form of replies: length and error (4.1). Pure.

use rustix::io::Errno;

use crate::request::Expect;
use crate::rule::Rule;
use crate::wire::OutHeader;

/// Lowest error a reply may carry.
const ERROR_MIN: i32 = -511;

/// The body, or the application's error and the rule that was broken.
pub(crate) fn judge_reply(
    header: &OutHeader,
    body: &[u8],
    len: usize,
    expect: Expect,
) -> Result<Vec<u8>, (Errno, Option<Rule>)> {
    if header.len as usize != len {
        return Err((Errno::IO, Some(Rule::ReplyLength)));
    }
    match header.error {
        0 => {}
        error if !(ERROR_MIN..0).contains(&error) => {
            return Err((Errno::IO, Some(Rule::ErrorRange)));
        }
        _ if !body.is_empty() => return Err((Errno::IO, Some(Rule::ErrorWithBody))),
        error => return Err((Errno::from_raw_os_error(-error), None)),
    }
    let fits = match expect {
        Expect::Exactly(size) => body.len() == size,
        Expect::AtMost(size) => body.len() <= size,
        Expect::Nothing => false,
    };
    match fits {
        true => Ok(body.to_vec()),
        false => Err((Errno::IO, Some(Rule::ReplyLength))),
    }
}
