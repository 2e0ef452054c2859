//! Sizes and durations as people write them, on the command line and in the
//! configuration. The hard thing is to refuse what would overflow later.

use std::time::Duration;

/// Reads `512MB`, `1.5 GiB`, `4096` (bytes). Both kinds of prefix mean powers of
/// 1024.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let digits = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u32 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(format!("unknown unit '{}'; write 512MB or 1GB", unit.trim())),
    };
    let number: f64 = number.parse().map_err(|_| format!("'{text}' is no size; write 512MB"))?;
    let bytes = number * f64::from(factor);
    if !(1.0..=1e15).contains(&bytes) {
        return Err(format!("'{text}' is out of range"));
    }
    // In range, so nothing is lost but the fraction of a byte.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(bytes as usize)
}

/// Reads seconds, with a fraction if need be.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("'{text}' is no number of seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("512MB", 512 << 20), ("1 GiB", 1 << 30), ("1.5k", 1536), ("7", 7)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MB", "-1MB", "1XB", "0", "1e3MB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(parse_seconds("1.5"), Ok(Duration::from_millis(1500)));
        for text in ["0", "-1", "x", "nan", "inf", "1e300"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }
}
