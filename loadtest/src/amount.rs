//! How are amounts written for people?

/// A time of so many microseconds.
pub(crate) fn micros(micros: f64) -> String {
    match micros.abs() {
        0.0 => "0".to_owned(),
        size if size < 999.5 => format!("{} µs", three(micros)),
        size if size < 999_500.0 => format!("{} ms", three(micros / 1e3)),
        size if size < 120e6 => format!("{} s", three(micros / 1e6)),
        size if size < 7200e6 => format!("{} min", three(micros / 60e6)),
        _ => format!("{} h", three(micros / 3600e6)),
    }
}

/// A time of so many seconds.
pub(crate) fn seconds(seconds: f64) -> String {
    micros(seconds * 1e6)
}

/// A size.
pub(crate) fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes;
    let mut unit = 0;
    while size.abs() >= 999.5 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{size:.0} B") } else { format!("{} {}", three(size), UNITS[unit]) }
}

/// A share of one, with as many digits as it takes to tell it from nothing and from all.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let from_end = percent.min(100.0 - percent).abs();
    let digits = match from_end {
        0.0 => 0,
        end if end >= 9.95 => 0,
        end if end >= 0.995 => 1,
        end if end >= 0.0995 => 2,
        end if end >= 0.009_95 => 3,
        end if end >= 0.000_995 => 4,
        _ => 5,
    };
    let rounded = format!("{percent:.digits$}");
    match rounded.parse() {
        Ok(100.0) if percent < 100.0 => "> 99.99999 %".to_owned(),
        Ok(0.0) if percent > 0.0 => "< 0.00001 %".to_owned(),
        _ if digits > 0 => format!("{} %", rounded.trim_end_matches('0').trim_end_matches('.')),
        _ => format!("{rounded} %"),
    }
}

/// A number of anything: three digits where it is small, thousands apart where it is large.
pub(crate) fn number(number: f64) -> String {
    if number.abs() < 999.5 {
        return if number.fract() == 0.0 { format!("{number:.0}") } else { three(number) };
    }
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    if number < 0.0 {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The same of a count.
#[expect(clippy::cast_precision_loss, reason = "exact to 2^53, far past any run")]
pub(crate) fn count(count: u64) -> String {
    number(count as f64)
}

/// A number for the tick of an axis, as short as it can be: `20k`.
pub(crate) fn short(number: f64) -> String {
    let (scaled, unit) = match number.abs() {
        size if size >= 1e9 => (number / 1e9, "G"),
        size if size >= 1e6 => (number / 1e6, "M"),
        size if size >= 1e4 => (number / 1e3, "k"),
        _ => (number, ""),
    };
    format!("{}{unit}", (scaled * 1e4).round() / 1e4)
}

/// `1 pod`, `2 pods`.
pub(crate) fn several(how_many: u64, what: &str) -> String {
    format!("{} {what}{}", count(how_many), if how_many == 1 { "" } else { "s" })
}

/// Three significant digits or two, but no fewer than there are before the point.
fn three(number: f64) -> String {
    let digits = match number.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.0995 || size == 0.0 => 2,
        size if size >= 0.00995 => 3,
        size if size >= 0.000_995 => 4,
        _ => 6,
    };
    format!("{number:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (time, text) in [
            (0.0, "0"),
            (0.52, "0.52 µs"),
            (5.04, "5.04 µs"),
            (99.96, "100 µs"),
            (999.6, "1.00 ms"),
            (12_345.0, "12.3 ms"),
            (999_600.0, "1.00 s"),
            (93e6, "93.0 s"),
            (300e6, "5.00 min"),
            (36_000e6, "10.0 h"),
        ] {
            assert_eq!(micros(time), text);
        }
        assert_eq!(seconds(1.5), "1.50 s");
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes(379.0), "379 B");
        assert_eq!(bytes(1000.0), "0.98 KiB");
        assert_eq!(bytes(14.2 * 1024.0 * 1024.0), "14.2 MiB");
        assert_eq!(bytes(3e20), "272848411 TiB");
    }

    #[test]
    fn shares_are_told_from_nothing_and_from_all() {
        for (share, text) in [
            (0.0, "0 %"),
            (1.0, "100 %"),
            (0.5, "50 %"),
            (0.9912, "99.12 %"),
            (0.9999, "99.99 %"),
            (0.999_999, "99.9999 %"),
            (0.999_999_999_99, "> 99.99999 %"),
            (0.000_000_000_01, "< 0.00001 %"),
            (0.0123, "1.2 %"),
            (0.05, "5 %"),
        ] {
            assert_eq!(percent(share), text, "{share}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(number(7.0), "7");
        assert_eq!(number(7.25), "7.25");
        assert_eq!(number(0.0061), "0.0061");
        assert_eq!(number(-1234.5), "-1,234");
        assert_eq!(number(189_000.0), "189,000");
        assert_eq!(count(1_000_000), "1,000,000");
        assert_eq!(several(1, "pod"), "1 pod");
        assert_eq!(several(1200, "pod"), "1,200 pods");
        assert_eq!(short(20_000.0), "20k");
        assert_eq!(short(2500.0), "2500");
        assert_eq!(short(0.25), "0.25");
        assert_eq!(short(1.5e6), "1.5M");
    }
}
