//! Calendar dates from wall time, for `Date` and access logs.

use crate::time::Wall;

/// A moment in UTC, broken down.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Civil {
    pub year: u64,
    /// 1 to 12.
    pub month: u64,
    /// 1 to 31.
    pub day: u64,
    pub hour: u64,
    pub minute: u64,
    pub second: u64,
    pub nanos: u64,
    /// 0 is Sunday.
    pub weekday: u64,
    /// 1 to 366.
    pub day_of_year: u64,
}

impl Civil {
    /// Breaks wall time down. The days-to-civil algorithm is Howard Hinnant's.
    pub fn from_wall(wall: Wall) -> Civil {
        let (secs, nanos) = (wall.as_secs(), wall.as_nanos() % 1_000_000_000);
        let (days, rest) = (secs / 86_400, secs % 86_400);
        let z = days + 719_468;
        let (era, doe) = (z / 146_097, z % 146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + u64::from(month <= 2);
        let leap = u64::from(year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)));
        const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let day_of_year = BEFORE[month as usize - 1] + day + if month > 2 { leap } else { 0 };
        Civil {
            year,
            month,
            day,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            nanos,
            weekday: (days + 4) % 7,
            day_of_year,
        }
    }

    /// Three-letter name of the weekday.
    pub fn weekday_name(&self) -> &'static str {
        ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][self.weekday as usize % 7]
    }

    /// Three-letter name of the month.
    pub fn month_name(&self) -> &'static str {
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][self.month as usize - 1]
    }
}

/// The IMF-fixdate of RFC 9110 section 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date(wall: Wall) -> [u8; 29] {
    let c = Civil::from_wall(wall);
    let mut out = *b"Sun, 06 Nov 1994 08:49:37 GMT";
    out[..3].copy_from_slice(c.weekday_name().as_bytes());
    out[8..11].copy_from_slice(c.month_name().as_bytes());
    let mut two = |at: usize, n: u64| {
        out[at] = b'0' + (n / 10 % 10) as u8;
        out[at + 1] = b'0' + (n % 10) as u8;
    };
    two(5, c.day);
    two(12, c.year / 100);
    two(14, c.year);
    two(17, c.hour);
    two(20, c.minute);
    two(23, c.second);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(secs: u64) -> String {
        String::from_utf8_lossy(&http_date(Wall::from_nanos(secs * 1_000_000_000))).into_owned()
    }

    #[test]
    fn known_dates() {
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(date(1_798_761_599), "Thu, 31 Dec 2026 23:59:59 GMT");
    }

    #[test]
    fn day_of_year_counts_leap_days() {
        let day = |secs: u64| Civil::from_wall(Wall::from_nanos(secs * 1_000_000_000)).day_of_year;
        assert_eq!(day(1_798_761_599), 365);
        assert_eq!(day(978_220_800), 366); // 2000-12-31
        assert_eq!(day(0), 1);
    }
}
