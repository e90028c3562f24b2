//! Durations and sizes, as options take them and as screens show them.

use std::time::Duration;

/// Reads a duration such as `500ms`, `1.5s`, `2m` or `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a number and `ms`, `s`, `m` or `h`, as in `500ms`".to_owned();
    let at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())
}

/// Reads a number of bytes such as `512`, `64KiB`, `1MiB` or `2GiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "write a number of bytes, or one with `KiB`, `MiB` or `GiB`".to_owned();
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// Shows a number of bytes, with three digits at least: `812 B`, `1.5 MiB`.
pub(crate) fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1_024.0;
    let mut unit = 0;
    while size >= 1_024.0 && unit + 1 < UNITS.len() {
        size /= 1_024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// Shows a duration in the unit that fits it: `80 us`, `1.2 ms`, `3.4 s`, `5 m 20 s`, `2 h 3 m`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match duration.as_secs_f64() {
        short if short < 1e-3 => format!("{:.0} us", short * 1e6),
        short if short < 1.0 => format!("{:.1} ms", short * 1e3),
        short if short < 60.0 => format!("{short:.1} s"),
        _ if seconds < 3_600 => format!("{} m {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} m", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        for (text, millis) in
            [("500ms", 500), ("1.5s", 1_500), ("2m", 120_000), ("1h", 3_600_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "5", "s", "-1s", "1w", "1e400s", "NaNs", "infs", "1 s", "1s2"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        for (micros, text) in
            [(80, "80 us"), (1_200, "1.2 ms"), (3_400_000, "3.4 s"), (320_000_000, "5 m 20 s")]
        {
            assert_eq!(show_duration(Duration::from_micros(micros)), text);
        }
        assert_eq!(show_duration(Duration::from_secs(7_380)), "2 h 3 m");
    }

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, size) in [("0", 0), ("512B", 512), ("64KiB", 65_536), ("2GiB", 2 << 30)] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for wrong in ["", "KiB", "1.5MiB", "-1", "1KB", "99999999999GiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(show_bytes(1_023), "1023 B");
        assert_eq!(show_bytes(3 << 19), "1.5 MiB");
        assert_eq!(show_bytes(u64::MAX), "16384.0 PiB");
    }
}
