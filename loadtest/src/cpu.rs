//! How much CPU time has a process used so far?

use std::time::Duration;

/// The unit of the times in `/proc/PID/stat`. Linux has reported them in hundredths of a second
/// on every architecture for decades, whatever the kernel's own tick is.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of a process, all its threads included, those that have ended too.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Used {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl Used {
    /// What `pid` has used since it started.
    pub(crate) fn by(pid: u32) -> Result<Self, String> {
        Self::read(pid, Self::parse)
    }

    /// The same, and what its children have used that have ended.
    pub(crate) fn with_ended(pid: u32) -> Result<Self, String> {
        Self::read(pid, |stat| {
            let (own, ended) = (Self::parse(stat)?, Self::times(stat, 13)?);
            Some(Self { user: own.user + ended.user, system: own.system + ended.system })
        })
    }

    fn read(pid: u32, parse: impl Fn(&str) -> Option<Self>) -> Result<Self, String> {
        let file = format!("/proc/{pid}/stat");
        let stat = std::fs::read_to_string(&file)
            .map_err(|e| format!("{file}: {e}; --pid needs Linux and a running process"))?;
        parse(&stat).ok_or_else(|| format!("{file}: not the format that proc(5) describes"))
    }

    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }

    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }

    /// Fields 14 and 15. Field 2 is the program's name in parentheses and may itself hold spaces
    /// and parentheses, so counting begins behind the last one.
    fn parse(stat: &str) -> Option<Self> {
        Self::times(stat, 11)
    }

    /// The two times that follow so many fields behind the name.
    fn times(stat: &str, behind: usize) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split(' ').skip(behind).map(|ticks| ticks.parse::<u32>().ok());
        Some(Self { user: TICK * fields.next()??, system: TICK * fields.next()?? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_may_hold_anything() {
        for name in ["vaultlet", "tokio worker", "a) R 1 2 (b"] {
            let stat = format!("42 ({name}) S 1 42 42 0 -1 4194560 900 0 0 0 123 45 7 8 20 0 4 0");

            let used = Used::parse(&stat);

            assert_eq!(used, Some(Used { user: TICK * 123, system: TICK * 45 }), "{name}");
        }
    }

    #[test]
    fn what_children_used_that_have_ended_stands_behind_it() {
        let stat = "42 (nginx) S 1 42 42 0 -1 4194560 900 0 0 0 123 45 7 8 20 0 4 0";

        let ended = Used::times(stat, 13);

        assert_eq!(ended, Some(Used { user: TICK * 7, system: TICK * 8 }));
    }

    #[test]
    fn what_is_not_that_format_is_nothing() {
        for stat in ["", "42 (vaultlet) S 1 42", "42 (a) S 1 42 42 0 -1 0 0 0 0 0 x y"] {
            assert_eq!(Used::parse(stat), None, "{stat:?}");
        }
    }

    #[test]
    fn the_difference_is_what_was_used_between() {
        let ms = Duration::from_millis;
        let earlier = Used { user: ms(100), system: ms(50) };
        let later = Used { user: ms(300), system: ms(80) };

        let used = later.since(earlier);

        assert_eq!(used, Used { user: ms(200), system: ms(30) });
        assert_eq!(used.total(), ms(230));
    }
}
