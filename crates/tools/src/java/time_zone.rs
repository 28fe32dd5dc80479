//! The time zone of this machine, as Java finds it: by `TZ`, else by `/etc/localtime`.

use super::time::days_since_epoch;

/// Offsets from UTC by time (TZif, RFC 9636).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TimeZone {
    /// Seconds east of Greenwich before the first transition.
    first: i64,
    /// From when on, in seconds since the epoch, which offset holds.
    transitions: Vec<(i64, i64)>,
    /// What holds behind the last transition.
    rule: Option<Rule>,
}

/// A rule of POSIX, such as `CET-1CEST,M3.5.0,M10.5.0/3`; offsets are seconds east of Greenwich.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    standard: i64,
    daylight: Option<(i64, Change, Change)>,
}

/// `Mm.w.d/time`: weekday `d` (0 is Sunday) of week `w` (5 is the last) of month `m`, in seconds from midnight.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    month: i64,
    week: i64,
    weekday: i64,
    seconds: i64,
}

impl TimeZone {
    /// The zone of this machine; UTC where none can be read.
    pub(crate) fn local() -> Self {
        let path = match std::env::var("TZ") {
            Ok(name) if name.trim_start_matches(':').starts_with('/') => name.trim_start_matches(':').to_owned(),
            Ok(name) => format!("/usr/share/zoneinfo/{}", name.trim_start_matches(':')),
            Err(_) => "/etc/localtime".to_owned(),
        };
        std::fs::read(path).ok().and_then(|file| Self::parse(&file)).unwrap_or_default()
    }

    /// Reads a TZif file; `None` where it is none.
    fn parse(file: &[u8]) -> Option<Self> {
        let (first, rest) = block(file, 4)?;
        if file.get(4).is_none_or(|version| *version < b'2') {
            return Some(first);
        }
        // From version 2 on, the same follows with times of 64 bits, and then a rule.
        let (mut zone, footer) = block(rest, 8)?;
        let footer = std::str::from_utf8(footer).ok()?;
        zone.rule = footer.trim_matches('\n').split('\n').next().and_then(Rule::parse);
        Some(zone)
    }

    /// Seconds east of Greenwich at a time in seconds since the epoch.
    pub(crate) fn offset_at(&self, seconds: i64) -> i64 {
        let passed = self.transitions.partition_point(|(since, _)| *since <= seconds);
        match (&self.rule, passed.checked_sub(1).and_then(|last| self.transitions.get(last))) {
            (Some(rule), _) if passed == self.transitions.len() => rule.offset_at(seconds),
            (_, Some((_, offset))) => *offset,
            (_, None) => self.first,
        }
    }
}

/// A header and its data, the times of which have `width` bytes; and what comes behind.
fn block(file: &[u8], width: usize) -> Option<(TimeZone, &[u8])> {
    let header = file.get(..44).filter(|header| header.starts_with(b"TZif"))?;
    let count = |index: usize| {
        let bytes = header.get(20 + 4 * index..24 + 4 * index)?;
        usize::try_from(integer(bytes)).ok()
    };
    let (at_utc, standard, leaps) = (count(0)?, count(1)?, count(2)?);
    let (times, types, names) = (count(3)?, count(4)?, count(5)?);
    let mut rest = file.get(44..)?;
    let mut take = |length: usize| {
        let (taken, after) = rest.split_at_checked(length)?;
        rest = after;
        Some(taken)
    };
    let instants = take(times.checked_mul(width)?)?;
    let kinds = take(times)?;
    let described = take(types.checked_mul(6)?)?;
    take(names)?;
    take(leaps.checked_mul(width + 4)?)?;
    take(standard)?;
    take(at_utc)?;
    let offsets: Vec<i64> = described.chunks_exact(6).filter_map(|kind| kind.get(..4)).map(integer).collect();
    let offset = |kind: &u8| offsets.get(usize::from(*kind)).copied();
    let transitions = instants.chunks_exact(width).zip(kinds).map(|(at, kind)| Some((integer(at), offset(kind)?)));
    let zone = TimeZone { first: offset(&0)?, transitions: transitions.collect::<Option<_>>()?, rule: None };
    Some((zone, rest))
}

/// A signed integer of four or eight bytes.
fn integer(bytes: &[u8]) -> i64 {
    match (<[u8; 8]>::try_from(bytes), <[u8; 4]>::try_from(bytes)) {
        (Ok(bytes), _) => i64::from_be_bytes(bytes),
        (_, Ok(bytes)) => i32::from_be_bytes(bytes).into(),
        _ => 0,
    }
}

impl Rule {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        let (standard, rest) = named_offset(parts.next()?)?;
        let standard = standard?;
        if rest.is_empty() {
            return Some(Self { standard, daylight: None });
        }
        let (daylight, _) = named_offset(rest)?;
        let (start, end) = (Change::parse(parts.next()?)?, Change::parse(parts.next()?)?);
        Some(Self { standard, daylight: Some((daylight.unwrap_or(standard + 3600), start, end)) })
    }

    fn offset_at(&self, seconds: i64) -> i64 {
        let Some((daylight, start, end)) = &self.daylight else { return self.standard };
        let (year, ..) = super::time::date_of((seconds + self.standard).div_euclid(86_400));
        let (start, end) = (start.at(year) - self.standard, end.at(year) - daylight);
        let is_daylight = match start < end {
            true => (start..end).contains(&seconds),
            false => !(end..start).contains(&seconds),
        };
        if is_daylight { *daylight } else { self.standard }
    }
}

impl Change {
    fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.split_once('/').unwrap_or((text, "2"));
        let mut numbers = date.strip_prefix('M')?.split('.').map(|number| number.parse::<i64>().ok());
        let (month, week, weekday) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let valid = (1..=12).contains(&month) && (1..=5).contains(&week) && (0..=6).contains(&weekday);
        valid.then_some(Self { month, week, weekday, seconds: hours(time)? })
    }

    /// Seconds since the epoch of local time.
    fn at(&self, year: i64) -> i64 {
        let first = days_since_epoch(year, self.month, 1);
        // 1 January 1970 was a Thursday.
        let before = (self.weekday - (first + 4)).rem_euclid(7);
        let mut day = first + before + (self.week - 1) * 7;
        let (next_year, next_month) = if self.month == 12 { (year + 1, 1) } else { (year, self.month + 1) };
        if day >= days_since_epoch(next_year, next_month, 1) {
            day -= 7;
        }
        day * 86_400 + self.seconds
    }
}

/// Takes a name and, if there is one, an offset off the front; POSIX counts it to the west.
fn named_offset(text: &str) -> Option<(Option<i64>, &str)> {
    let rest = match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>')?.1,
        None => text.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
    };
    let end = rest.find(|c: char| !(c.is_ascii_digit() || "+-:".contains(c))).unwrap_or(rest.len());
    let (offset, after) = rest.split_at(end);
    if offset.is_empty() {
        return Some((None, after));
    }
    Some((Some(-hours(offset)?), after))
}

/// Seconds of `h`, `h:m` or `h:m:s` with a sign if need be.
fn hours(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.trim_start_matches('+')),
    };
    let mut seconds = 0;
    for (part, unit) in digits.split(':').zip([3600, 60, 1]) {
        seconds += part.parse::<i64>().ok().filter(|number| *number < 1000)? * unit;
    }
    Some(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::{Rule, TimeZone};

    #[test]
    fn rules_say_when_clocks_change() {
        for (rule, seconds, hours_east) in [
            ("UTC0", 0, 0.0),
            ("<+0530>-5:30", 1_700_000_000, 5.5),
            // Central Europe: 31 March and 27 October 2024, 01:00 UTC.
            ("CET-1CEST,M3.5.0,M10.5.0/3", 1_711_846_799, 1.0),
            ("CET-1CEST,M3.5.0,M10.5.0/3", 1_711_846_800, 2.0),
            ("CET-1CEST,M3.5.0,M10.5.0/3", 1_729_990_799, 2.0),
            ("CET-1CEST,M3.5.0,M10.5.0/3", 1_729_990_800, 1.0),
            // New York: 10 March 2024, 07:00 UTC.
            ("EST5EDT,M3.2.0,M11.1.0", 1_710_053_999, -5.0),
            ("EST5EDT,M3.2.0,M11.1.0", 1_710_054_000, -4.0),
            // Sydney: the summer is over New Year.
            ("AEST-10AEDT,M10.1.0,M4.1.0/3", 1_704_067_200, 11.0),
            ("AEST-10AEDT,M10.1.0,M4.1.0/3", 1_718_000_000, 10.0),
        ] {
            let parsed = Rule::parse(rule).unwrap();
            assert_eq!(parsed.offset_at(seconds) as f64 / 3600.0, hours_east, "{rule} at {seconds}");
        }
        for rule in ["", "CET", "CET-1CEST", "CET-1CEST,M13.5.0,M10.5.0", "<+01", "CET-1CEST,60,300"] {
            assert_eq!(Rule::parse(rule), None, "{rule}");
        }
    }

    /// A block with transitions at 100 and 200 to the second and the first of two types.
    fn block(version: u8, width: usize) -> Vec<u8> {
        let mut file = [b"TZif".as_slice(), &[version], &[0; 15]].concat();
        for count in [0_u32, 0, 0, 2, 2, 4] {
            file.extend(count.to_be_bytes());
        }
        for at in [100_i64, 200] {
            file.extend(at.to_be_bytes().get(8 - width..).unwrap());
        }
        file.extend([1, 0]);
        for offset in [3600_i32, 7200] {
            file.extend(offset.to_be_bytes());
            file.extend([0, 0]);
        }
        file.extend(b"ABC\0");
        file
    }

    #[test]
    fn files_hold_transitions_and_a_rule() {
        let old = TimeZone::parse(&block(0, 4)).unwrap();
        let with_rule = [block(b'2', 4), block(b'2', 8), b"\nX-9\n".to_vec()].concat();
        let new = TimeZone::parse(&with_rule).unwrap();
        for (at, expected_old, expected_new) in
            [(0, 3600, 3600), (100, 7200, 7200), (199, 7200, 7200), (200, 3600, 32_400)]
        {
            assert_eq!((old.offset_at(at), new.offset_at(at)), (expected_old, expected_new), "{at}");
        }
        for end in 0..with_rule.len() - 5 {
            assert_eq!(TimeZone::parse(&with_rule[..end]), None, "{end}");
        }
    }
}
