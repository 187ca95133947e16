//! Points in time in the user's time zone, in the words of other tools.

use jiff::Zoned;
use jiff::tz::TimeZone;

/// As ctime(3) and so dumpe2fs: `Fri Nov 20 10:48:37 2026`.
pub(crate) fn ctime(seconds: i64) -> String {
    zoned(seconds).map_or_else(
        || format!("@{seconds}"),
        |time| time.strftime("%a %b %e %H:%M:%S %Y").to_string(),
    )
}

/// As stat(1): `2026-11-20 10:48:37.123456789 +0100`.
pub(crate) fn full(time: fs_core::Timestamp) -> String {
    let fs_core::Timestamp { seconds, nanos } = time;
    zoned(seconds).map_or_else(
        || format!("@{seconds}.{nanos:09}"),
        |time| {
            let day = time.strftime("%Y-%m-%d %H:%M:%S");
            format!("{day}.{nanos:09} {}", time.strftime("%z"))
        },
    )
}

/// As `ls -l --time-style=long-iso`: `2026-11-20 10:48`.
pub(crate) fn minutes(seconds: i64) -> String {
    zoned(seconds).map_or_else(
        || format!("@{seconds}"),
        |time| time.strftime("%Y-%m-%d %H:%M").to_string(),
    )
}

fn zoned(seconds: i64) -> Option<Zoned> {
    let time = jiff::Timestamp::from_second(seconds).ok()?;
    Some(time.to_zoned(TimeZone::system()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_calendar_holds_is_shown_as_seconds() {
        assert_eq!(ctime(i64::MAX), format!("@{}", i64::MAX));
        let time = fs_core::Timestamp {
            seconds: i64::MIN,
            nanos: 7,
        };
        assert_eq!(full(time), format!("@{}.000000007", i64::MIN));
    }

    #[test]
    fn nanoseconds_keep_their_zeros() {
        let time = fs_core::Timestamp {
            seconds: 86_400,
            nanos: 1,
        };
        assert!(full(time).contains(".000000001 "), "{}", full(time));
    }
}
