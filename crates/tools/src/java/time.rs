//! Points in time and durations as Java's `SimpleDateFormat` and `Duration.parse` read them.

/// Milliseconds since the epoch of `YYYY-MM-DDThh:mm:ss.sss`, in UTC or with an offset (`Z`, `+01`, `+01:00`, `+0100`).
pub(crate) fn datetime(text: &str) -> Result<i64, String> {
    let Some(time) = text.split('T').nth(1) else {
        let why = "Error parsing timestamp. It does not contain a 'T' according to ISO8601 format";
        return Err(format!("java.text.ParseException: {why}"));
    };
    let text = if time.contains(['+', '-', 'Z']) { text.to_owned() } else { format!("{text}Z") };
    parse(&text).ok_or_else(|| format!("java.text.ParseException: Unparseable date: \"{text}\""))
}

fn parse(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut parts = [0_i64; 7];
    for (part, end) in parts.iter_mut().zip(["-", "-", "T", ":", ":", ".", ""]) {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        *part = number.parse().ok()?;
        rest = after.strip_prefix(end)?;
    }
    let [year, month, day, hour, minute, second, millis] = parts;
    let in_range = (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour <= 23
        && minute <= 59
        && second <= 59
        && millis <= 999
        && year <= 200_000;
    if !in_range {
        return None;
    }
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(seconds * 1000 + millis - offset_minutes(rest)? * 60_000)
}

/// Minutes east of Greenwich; what comes behind is passed over.
fn offset_minutes(text: &str) -> Option<i64> {
    let sign = match text.chars().next()? {
        'Z' => return Some(0),
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let digits = text.get(1..)?.as_bytes();
    let two = |from: usize| -> Option<i64> {
        let pair = digits.get(from..from + 2)?;
        pair.iter()
            .all(u8::is_ascii_digit)
            .then(|| pair.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
    };
    let hours = two(0).filter(|hours| *hours <= 23)?;
    let minutes = match digits.get(2) {
        Some(b':') => two(3).filter(|minutes| *minutes <= 59),
        _ => None,
    };
    Some(sign * (hours * 60 + minutes.unwrap_or(0)))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

pub(super) fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the day that may be missing is a year's last.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    /// Days from 1 March of the year 0 to 1 January 1970.
    const EPOCH: i64 = 719_468;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - EPOCH
}

/// Year, month and day of a day that is counted from the epoch.
pub(super) fn date_of(day: i64) -> (i64, i64, i64) {
    // A year that is never too late.
    let mut year = 1970 + day.div_euclid(366).min(day.div_euclid(365));
    while days_since_epoch(year + 1, 1, 1) <= day {
        year += 1;
    }
    let month = (2..=12).take_while(|month| days_since_epoch(year, *month, 1) <= day).last().unwrap_or(1);
    (year, month, day - days_since_epoch(year, month, 1) + 1)
}

/// Milliseconds of `PnDTnHnMn.nS`, each part with a sign if need be.
pub(crate) fn duration_ms(text: &str) -> Result<i64, String> {
    parse_duration(&text.to_ascii_uppercase()).ok_or_else(|| "Text cannot be parsed to a Duration".to_owned())
}

fn parse_duration(text: &str) -> Option<i64> {
    let (negative, body) = match text.split_at_checked(1)? {
        ("-", rest) => (true, rest),
        ("+", rest) => (false, rest),
        _ => (false, text),
    };
    let (days, time) = match body.strip_prefix('P')?.split_once('T') {
        Some((days, time)) if !time.is_empty() => (days, time),
        Some(_) => return None,
        None => (body.strip_prefix('P')?, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let mut rest = days;
    let mut total = part(&mut rest, 'D', 86_400_000)?;
    if !rest.is_empty() {
        return None;
    }
    rest = time;
    for (unit, millis) in [('H', 3_600_000), ('M', 60_000)] {
        total = total.checked_add(part(&mut rest, unit, millis)?)?;
    }
    total = total.checked_add(seconds(rest)?)?;
    if negative { total.checked_neg() } else { Some(total) }
}

/// Takes a number with its unit off the front, if it is there.
fn part(rest: &mut &str, unit: char, millis: i64) -> Option<i64> {
    let Some((number, after)) = rest.split_once(unit) else { return Some(0) };
    let number = number.parse::<i64>().ok()?.checked_mul(millis)?;
    *rest = after;
    Some(number)
}

fn seconds(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    let number = text.strip_suffix('S')?;
    let (whole, fraction) = number.split_once(['.', ',']).unwrap_or((number, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = whole.parse::<i64>().ok()?.checked_mul(1000)?;
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    seconds.checked_add(if whole.starts_with('-') { -millis } else { millis })
}

#[cfg(test)]
mod tests {
    use super::{date_of, datetime, days_since_epoch, duration_ms};

    #[test]
    fn days_are_dates_and_back() {
        for day in (-200_000..200_000).step_by(13) {
            let (year, month, date) = date_of(day);
            assert_eq!(days_since_epoch(year, month, date), day);
            assert!((1..=12).contains(&month) && (1..=super::days_of_month(year, month)).contains(&date), "{day}");
        }
        assert_eq!(date_of(19_782), (2024, 2, 29));
    }

    #[test]
    fn dates_are_in_utc_or_with_an_offset() {
        // Each as Java's `Utils.getDateTime` gives it.
        for (text, millis) in [
            ("1970-01-01T00:00:00.000", 0),
            ("2024-02-29T12:30:45.678", 1_709_209_845_678),
            ("2024-02-29T12:30:45.678Z", 1_709_209_845_678),
            ("2024-02-29T12:30:45.678+01:00", 1_709_206_245_678),
            ("2024-02-29T12:30:45.678-0130", 1_709_213_445_678),
            ("2024-02-29T12:30:45.678+01", 1_709_206_245_678),
            ("1969-12-31T23:59:59.999", -1),
            ("2000-1-1T0:0:0.5", 946_684_800_005),
        ] {
            assert_eq!(datetime(text), Ok(millis), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused_in_javas_words() {
        let refused = |text| datetime(text).unwrap_err();
        assert_eq!(
            refused("2024-02-29"),
            "java.text.ParseException: Error parsing timestamp. It does not contain a 'T' according to ISO8601 format"
        );
        assert_eq!(
            refused("2024-02-29T12:30:45"),
            "java.text.ParseException: Unparseable date: \"2024-02-29T12:30:45Z\""
        );
        for text in ["2023-02-29T00:00:00.000", "2024-13-01T00:00:00.000", "2024-01-01T24:00:00.000", "T", "xTy"] {
            assert!(datetime(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_as_java_reads_them() {
        for (text, millis) in [
            ("PT0S", 0),
            ("PT15M", 900_000),
            ("p1dt2h3m4.5s", 93_784_500),
            ("P2D", 172_800_000),
            ("-P1D", -86_400_000),
            ("PT-6H+3M", -21_420_000),
            ("PT-0.5S", -500),
            ("PT1.S", 1000),
        ] {
            assert_eq!(duration_ms(text), Ok(millis), "{text}");
        }
        for text in ["", "P", "PT", "P1DT", "1D", "P1H", "PT1D", "PTS", "PT1", "PT1S1M", "P99999999999999999D", "é"] {
            assert_eq!(duration_ms(text), Err("Text cannot be parsed to a Duration".to_owned()), "{text}");
        }
    }
}
