//! How durations, sizes and file modes are written.

use std::time::Duration;

/// Longer than any window that makes sense, short enough that adding it to a clock cannot overflow.
pub(super) const LONGEST: Duration = Duration::from_hours(24 * 3650);

/// `250ms`, `30s`, `15m`, `24h`, `7d`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

/// As [`duration`] reads it.
pub fn duration_text(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let unit =
        units.iter().find(|(size, _)| milliseconds > 0 && milliseconds.is_multiple_of(*size));
    match unit {
        Some((size, unit)) => format!("{}{unit}", milliseconds / size),
        None if milliseconds == 0 => "0s".to_owned(),
        None => format!("{milliseconds}ms"),
    }
}

/// Bytes: `512B`, `64KiB`, `256MiB`, `2GiB`.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let bytes = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

/// As [`size`] reads it.
pub fn size_text(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.iter().find(|(size, _)| bytes > 0 && bytes.is_multiple_of(*size));
    unit.map_or_else(|| format!("{bytes}B"), |(size, unit)| format!("{}{unit}", bytes / size))
}

/// Permission bits in octal, `0660` or `660`; nothing above `0777`.
pub(super) fn mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('0').unwrap_or(text);
    let octal = digits.len() == 3 && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten()
}

/// A whole number and what follows it.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        let good = [("250ms", 250), ("30s", 30_000), ("15m", 900_000), ("24h", 86_400_000)];
        for (text, milliseconds) in good {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(duration("7d"), Some(Duration::from_hours(168)));
        for bad in ["", "30", "s", "30 s", "-1s", "1.5h", "1h30m", "30S", "99999999999999999999s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!(duration("18446744073709551615d"), None, "overflow");
    }

    #[test]
    fn sizes_have_a_number_and_a_binary_unit() {
        let good = [("0B", 0), ("64KiB", 65_536), ("256MiB", 268_435_456), ("2GiB", 2_147_483_648)];
        for (text, bytes) in good {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for bad in ["", "64", "64KB", "64K", "64 KiB", "64kib", "-1B", "18446744073709551615GiB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["0s", "250ms", "90s", "15m", "24h", "36h", "7d"] {
            let value = duration(text).unwrap();
            assert_eq!(duration(&duration_text(value)), Some(value), "{text}");
        }
        for bytes in [0, 1, 1_500, 65_536, 33_554_432, 3 << 30] {
            assert_eq!(size(&size_text(bytes)), Some(bytes), "{bytes}");
        }
        assert_eq!(duration_text(LONGEST), "3650d");
    }

    #[test]
    fn modes_are_octal() {
        for (text, bits) in [("0660", 0o660), ("660", 0o660), ("0600", 0o600), ("0000", 0)] {
            assert_eq!(mode(text), Some(bits), "{text}");
        }
        for bad in ["", "0", "66", "0680", "0o660", "1777", "rw-rw----", "00660"] {
            assert_eq!(mode(bad), None, "{bad}");
        }
    }
}
