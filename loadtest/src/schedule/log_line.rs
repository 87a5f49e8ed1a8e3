//! What does one line of an access log say?
//!
//! The common and the combined log format, as Apache and nginx write it, and JSON as in
//! `{"time": "2026-03-01T12:00:00.25Z", "method": "GET", "path": "/v1/kv/data/app"}`; there `time`
//! may be a number too, seconds since 1970.

use std::time::Duration;

use serde_json::Value;

/// A request that was made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    /// Since 1970.
    pub(super) time: Duration,
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    /// Who made it, where the line tells.
    pub(super) client: Option<String>,
}

/// The line, if it is one.
pub(super) fn parse(line: &[u8]) -> Option<Line> {
    let line = str::from_utf8(line).ok()?.trim();
    if line.starts_with('{') { json(line) } else { common(line) }
}

fn json(line: &str) -> Option<Line> {
    let line: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| line.get(key).and_then(Value::as_str);
    let time = match line.get("time")? {
        Value::String(text) => rfc3339(text)?,
        number => Duration::try_from_secs_f64(number.as_f64()?).ok()?,
    };
    request(time, text("method")?, text("path")?, None)
}

/// `10.0.0.7 - - [10/Oct/2026:13:55:36 +0200] "GET /v1/kv/data/app HTTP/1.1" 200 512 …`
fn common(line: &str) -> Option<Line> {
    let (client, rest) = line.split_once(' ')?;
    let (time, rest) = rest.split_once('[')?.1.split_once("] \"")?;
    let mut words = rest.split_once('"')?.0.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    words.next()?.starts_with("HTTP/").then_some(())?;
    request(common_time(time)?, method, target, Some(client))
}

fn request(time: Duration, method: &str, target: &str, client: Option<&str>) -> Option<Line> {
    let word = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    // As a proxy is asked: `GET http://vault:8200/v1/…`.
    let target = match target.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => target,
    };
    let plain = target.bytes().all(|byte| byte.is_ascii_graphic());
    (word && plain && target.starts_with('/')).then(|| Line {
        time,
        method: method.to_owned(),
        target: target.to_owned(),
        client: client.map(str::to_owned),
    })
}

/// `10/Oct/2026:13:55:36 +0200`
fn common_time(text: &str) -> Option<Duration> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (date, zone) = text.split_once(' ')?;
    let mut parts = date.split(['/', ':']);
    let day = parts.next()?.parse().ok()?;
    let month = parts.next()?;
    let (_, month) = MONTHS.iter().zip(1..).find(|(name, _)| **name == month)?;
    let mut number = || parts.next()?.parse::<i64>().ok();
    let (year, hour, minute, second) = (number()?, number()?, number()?, number()?);
    since_1970([year, month, day, hour, minute, second], offset(zone)?)
}

/// RFC 3339: `2026-03-01T12:00:00.25+01:00`
fn rfc3339(text: &str) -> Option<Duration> {
    let zone = text.get(19..)?.find(['Z', 'z', '+', '-'])? + 19;
    let (clock, fraction) = text[..zone].split_at_checked(19)?;
    let mut parts = clock.split(['-', 'T', 't', ' ', ':']);
    let mut number = || parts.next()?.parse::<i64>().ok();
    let parts = [number()?, number()?, number()?, number()?, number()?, number()?];
    let whole = since_1970(parts, offset(&text[zone..])?)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let fraction: f64 = format!("0{fraction}").parse().ok()?;
    (0.0..1.0).contains(&fraction).then(|| whole + Duration::from_secs_f64(fraction))
}

/// Seconds east of Greenwich: `Z`, `+0200`, `+02:00`.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits = zone[1..].replace(':', "");
    let plain = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = plain.then(|| digits.parse().ok())??;
    Some(sign * (number / 100 * 3600 + number % 100 * 60))
}

/// Of year, month, day, hour, minute and second, by the calendar of today (Howard Hinnant,
/// "chrono-compatible low-level date algorithms").
fn since_1970(parts: [i64; 6], offset: i64) -> Option<Duration> {
    let [year, month, day, hour, minute, second] = parts;
    let clock = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..61).contains(&second);
    let date =
        (1970..10_000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    (clock && date).then_some(())?;
    // Years that begin in March, so that a leap day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let seconds = (days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    u64::try_from(seconds).ok().map(Duration::from_secs)
}
