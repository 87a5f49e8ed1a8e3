//! What is said at the end of a run?

use std::fmt;
use std::time::Duration;

use super::tally::Tally;
use crate::cpu::Used;

/// One finished run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) connections: u32,
    pub(crate) elapsed: Duration,
    pub(crate) tally: Tally,
    /// What the server used during the run, where its process was named.
    pub(crate) server: Option<Used>,
}

impl Report {
    pub(crate) fn failed(&self) -> u64 {
        self.tally.failed()
    }

    /// Whole answers per second.
    fn rate(&self) -> f64 {
        ratio(self.tally.answers(), self.elapsed.as_secs_f64())
    }

    /// The report as one line of JSON. Times are microseconds, and no string in it is the server's.
    pub(crate) fn json(&self) -> String {
        let tally = &self.tally;
        let statuses: Vec<_> = tally.statuses.iter().map(|(s, n)| format!("\"{s}\":{n}")).collect();
        let cached: Vec<_> =
            tally.cached.iter().map(|(c, n)| format!("\"{}\":{n}", c.name())).collect();
        let server = self.server.map_or("null".to_owned(), |used| {
            format!(
                "{{\"user_us\":{},\"system_us\":{},\"us_per_request\":{:.3}}}",
                used.user.as_micros(),
                used.system.as_micros(),
                per_request(used, tally.answers())
            )
        });
        format!(
            "{{\"connections\":{},\"seconds\":{:.3},\"answers\":{},\"failed\":{},\
             \"per_second\":{:.1},\"body_bytes\":{},\
             \"latency_us\":{{\"p50\":{:.1},\"p90\":{:.1},\"p99\":{:.1},\"p999\":{:.1},\"max\":{:.1}}},\
             \"statuses\":{{{}}},\"x_cache\":{{{}}},\"server_cpu\":{server}}}",
            self.connections,
            self.elapsed.as_secs_f64(),
            tally.answers(),
            tally.failed(),
            self.rate(),
            tally.body_bytes,
            self.micros(0.5),
            self.micros(0.9),
            self.micros(0.99),
            self.micros(0.999),
            self.micros(1.0),
            statuses.join(","),
            cached.join(","),
        )
    }

    fn micros(&self, share: f64) -> f64 {
        self.tally.quantile(share).as_secs_f64() * 1e6
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        writeln!(
            f,
            "{} answers in {:.2} s over {} connections: {:.0} per second, {} failed",
            tally.answers(),
            self.elapsed.as_secs_f64(),
            self.connections,
            self.rate(),
            tally.failed()
        )?;
        write!(f, "latency  ")?;
        for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)] {
            write!(f, "{name} {:.0} µs, ", self.micros(share))?;
        }
        writeln!(f, "max {:.0} µs", self.micros(1.0))?;
        write!(f, "status  ")?;
        for (status, count) in &tally.statuses {
            write!(f, " {status}: {count}")?;
        }
        write!(f, "\nX-Cache ")?;
        for (cached, count) in &tally.cached {
            write!(f, " {}: {count}", cached.name())?;
        }
        for (why, count) in &tally.broken {
            write!(f, "\nbroken   {count} x {why}")?;
        }
        if let Some(used) = self.server {
            write!(
                f,
                "\nserver   {:.2} µs CPU per request ({:.2} s user, {:.2} s system)",
                per_request(used, tally.answers()),
                used.user.as_secs_f64(),
                used.system.as_secs_f64()
            )?;
        }
        Ok(())
    }
}

/// Microseconds of CPU time per answer; 0 where there was none.
fn per_request(used: Used, answers: u64) -> f64 {
    let micros = u64::try_from(used.total().as_micros()).unwrap_or(u64::MAX);
    #[expect(clippy::cast_precision_loss, reason = "exact to 2^53, far past any run")]
    ratio(micros, answers as f64)
}

fn ratio(part: u64, whole: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact to 2^53, far past any run")]
    let part = part as f64;
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;
    use crate::saturate::tally::Cached;

    fn report() -> Report {
        let mut tally = Tally::new();
        for _ in 0..4 {
            tally.answered(StatusCode::OK, Cached::Hit, 100, Duration::from_micros(50));
        }
        tally.answered(StatusCode::NOT_FOUND, Cached::Miss, 20, Duration::from_micros(50));
        let used = Used { user: Duration::from_micros(60), system: Duration::from_micros(40) };
        Report { connections: 2, elapsed: Duration::from_millis(500), tally, server: Some(used) }
    }

    #[test]
    fn rates_are_per_answer_and_per_second() {
        let report = report();

        assert!((report.rate() - 10.0).abs() < 1e-9);
        assert!((per_request(report.server.unwrap(), 5) - 20.0).abs() < 1e-9);
        assert!(per_request(report.server.unwrap(), 0).abs() < 1e-9);
    }

    #[test]
    fn the_json_has_every_count() {
        let json = report().json();

        for part in [
            r#""connections":2,"seconds":0.500,"answers":5,"failed":1,"per_second":10.0"#,
            r#""body_bytes":420"#,
            r#""statuses":{"200":4,"404":1},"x_cache":{"HIT":4,"MISS":1}"#,
            r#""server_cpu":{"user_us":60,"system_us":40,"us_per_request":20.000}}"#,
        ] {
            assert!(json.contains(part), "{part} is not in {json}");
        }
    }

    #[test]
    fn the_text_names_what_failed() {
        let mut report = report();
        report.tally.broke("connection reset".into());

        let text = report.to_string();

        assert!(text.contains("5 answers in 0.50 s over 2 connections: 10 per second, 2 failed"));
        assert!(text.contains("404: 1") && text.contains("1 x connection reset"), "{text}");
    }
}
