//! Points in time as text.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// RFC 3339 in UTC, with milliseconds.
pub fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

/// A time in RFC 3339: with any offset and any fraction of a second. `None` for
/// what is none, and for times before 1970.
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.splitn(3, '-');
    let (year, month, day) =
        (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = rest.split_at_checked(8)?;
    let mut parts = time.splitn(3, ':');
    let (hour, minute, second) =
        (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let (nanos, offset) = fraction(rest)?;
    let is_real = year >= 1970
        && (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        // A leap second counts as the next.
        && second <= 60;
    if !is_real {
        return None;
    }
    let days = (1970..year).map(|it| 365 + u64::from(is_leap(it))).sum::<u64>()
        + (1..month).map(|it| days_of(year, it)).sum::<u64>()
        + (day - 1);
    let local = i64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second).ok()?;
    let seconds = u64::try_from(local - offset_seconds(offset)?).ok()?;
    Some(UNIX_EPOCH + Duration::new(seconds, nanos))
}

/// A number of exactly so many digits.
fn digits(text: &str, count: usize) -> Option<u64> {
    let is_plain = text.len() == count && text.bytes().all(|it| it.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

/// Nanoseconds of `.123…` if it is there, and what follows.
fn fraction(text: &str) -> Option<(u32, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.find(|it: char| !it.is_ascii_digit()).unwrap_or(rest.len());
    let (figures, rest) = rest.split_at(end);
    if figures.is_empty() {
        return None;
    }
    let nanos: String = figures.chars().chain("000000000".chars()).take(9).collect();
    Some((nanos.parse().ok()?, rest))
}

/// Seconds that local time is ahead of UTC: of `Z`, `+02:00`, `-05:30`.
fn offset_seconds(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match text.chars().next()? {
        // What a query string makes of a plus that is not escaped.
        '+' | ' ' => 1,
        '-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    let is_real = hours < 24 && minutes < 60;
    is_real.then(|| i64::try_from(hours * 3600 + minutes * 60).ok().map(|it| sign * it)).flatten()
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A duration for people: `3 s`, `2 min 5 s`, `1 h 3 min`, `4 d 1 h`.
pub fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Nanoseconds since 1970, as traces count.
pub fn unix_nanos(time: SystemTime) -> u64 {
    let nanos = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

/// Year, month and day of a number of days since 1970-01-01. Years are counted
/// from March, so that the leap day is a year's last.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    // Days between 0000-03-01 and 1970-01-01.
    let days = days + 719_468;
    let (cycle, day_of_cycle) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let leap_days = day_of_cycle / 1460 - day_of_cycle / 36_524 + day_of_cycle / 146_096;
    let year_of_cycle = (day_of_cycle - leap_days) / 365;
    let first_day = 365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100;
    let day_of_year = day_of_cycle - first_day;
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = 400 * cycle + year_of_cycle + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_as_the_calendar_has_them() {
        let check = |seconds: u64, expected: &str| {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        };
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_399, "2000-02-28T23:59:59.000Z");
        check(951_782_400, "2000-02-29T00:00:00.000Z");
        check(1_709_251_199, "2024-02-29T23:59:59.000Z");
        check(1_735_689_600, "2025-01-01T00:00:00.000Z");
        check(4_107_542_400, "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn what_is_written_is_read_again() {
        for seconds in [0, 951_782_399, 951_782_400, 1_709_251_199, 4_107_542_400] {
            let time = UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 7);
            assert_eq!(parse_rfc3339(&rfc3339(time)), Some(time));
        }
    }

    #[test]
    fn times_in_every_form() {
        let check = |text: &str, expected: &str| {
            assert_eq!(parse_rfc3339(text).map(rfc3339).as_deref(), Some(expected), "{text}");
        };
        check("2024-02-29T12:00:00Z", "2024-02-29T12:00:00.000Z");
        check("2024-02-29t12:00:00.5z", "2024-02-29T12:00:00.500Z");
        check("2024-02-29T12:00:00.123456789+02:00", "2024-02-29T10:00:00.123Z");
        check("2024-02-29T12:00:00 02:00", "2024-02-29T10:00:00.000Z");
        check("2024-12-31 23:30:00-05:30", "2025-01-01T05:00:00.000Z");
        check("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z");
        for text in [
            "",
            "yesterday",
            "2024-02-29",
            "2024-02-29T12:00:00",
            "2023-02-29T12:00:00Z",
            "2024-13-01T12:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T12:00:00.Z",
            "2024-01-01T12:00:00+2:00",
            "2024-01-01T12:00:00Zjunk",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "+024-01-01T12:00:00Z",
            "2024-01-01T12:00:0\u{e9}Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn durations_for_people() {
        let check = |seconds, expected| assert_eq!(spoken(Duration::from_secs(seconds)), expected);
        check(0, "0 s");
        check(125, "2 min 5 s");
        check(3_780, "1 h 3 min");
        check(349_200, "4 d 1 h");
    }
}
