//! Points in time as Java's `SimpleDateFormat` prints them.

use super::time::date_of;
use super::time_zone::TimeZone;

/// A pattern of `SimpleDateFormat` with the letters `yMdHmsS` and text, in the zone of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DateFormat {
    pieces: Vec<Piece>,
    zone: TimeZone,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(char),
    /// A letter and how often it stands there.
    Field(char, usize),
}

/// The letters that are acted on.
const LETTERS: &str = "yMdHmsS";
/// Those that Java has besides.
const OTHER_LETTERS: &str = "GYLwWDFEuakKhzZX";

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl DateFormat {
    /// # Errors
    /// In Java's words; a letter that Java has and this has not is named.
    pub(crate) fn new(pattern: &str, zone: TimeZone) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\'' if chars.next_if_eq(&'\'').is_some() => pieces.push(Piece::Text('\'')),
                '\'' => loop {
                    match chars.next().ok_or("Unterminated quote")? {
                        '\'' if chars.next_if_eq(&'\'').is_none() => break,
                        c => pieces.push(Piece::Text(c)),
                    }
                },
                c if LETTERS.contains(c) => {
                    let mut count = 1;
                    while chars.next_if_eq(&c).is_some() {
                        count += 1;
                    }
                    pieces.push(Piece::Field(c, count));
                }
                c if OTHER_LETTERS.contains(c) => {
                    return Err(format!("the letter '{c}' of a date format is not supported yet"));
                }
                c if c.is_ascii_alphabetic() => return Err(format!("Illegal pattern character '{c}'")),
                c => pieces.push(Piece::Text(c)),
            }
        }
        Ok(Self { pieces, zone })
    }

    /// A time in ms since the epoch.
    pub(crate) fn format(&self, ms: i64) -> String {
        let seconds = ms.div_euclid(1000);
        let seconds = seconds + self.zone.offset_at(seconds);
        let (year, month, day) = date_of(seconds.div_euclid(86_400));
        let of_day = seconds.rem_euclid(86_400);
        let mut text = String::new();
        for piece in &self.pieces {
            match *piece {
                Piece::Text(c) => text.push(c),
                Piece::Field('y', 2) => text.push_str(&format!("{:02}", year % 100)),
                Piece::Field('M', count) if count > 2 => {
                    let name = MONTHS.get(usize::try_from(month - 1).unwrap_or_default()).copied().unwrap_or_default();
                    text.push_str(if count == 3 { name.get(..3).unwrap_or(name) } else { name });
                }
                Piece::Field(letter, width) => {
                    let number = match letter {
                        'y' => year,
                        'M' => month,
                        'd' => day,
                        'H' => of_day / 3600,
                        'm' => of_day / 60 % 60,
                        's' => of_day % 60,
                        _ => ms.rem_euclid(1000),
                    };
                    text.push_str(&format!("{number:0width$}"));
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{DateFormat, TimeZone};

    #[test]
    fn prints_as_java() {
        // 29 February 2024, 12:30:45.067 UTC. Each as `SimpleDateFormat` prints it in UTC.
        for (pattern, expected) in [
            ("yyyy-MM-dd HH:mm:ss:SSS", "2024-02-29 12:30:45:067"),
            ("yy/M/d H.m.s,S", "24/2/29 12.30.45,67"),
            ("y yyy yyyyy", "2024 2024 02024"),
            ("MMM MMMM", "Feb February"),
            ("HHmm'h' 'it''s' ''s", "1230h it's '45"),
            ("SSSSS", "00067"),
            ("", ""),
        ] {
            let format = DateFormat::new(pattern, TimeZone::default()).unwrap();
            assert_eq!(format.format(1_709_209_845_067), expected, "{pattern}");
        }
        let format = DateFormat::new("yyyy-MM-dd HH:mm:ss:SSS", TimeZone::default()).unwrap();
        assert_eq!(format.format(-1), "1969-12-31 23:59:59:999");
        assert_eq!(format.format(951_782_400_000), "2000-02-29 00:00:00:000");
    }

    #[test]
    fn refuses_what_it_cannot_print() {
        for (pattern, expected) in [
            ("yyyy b", "Illegal pattern character 'b'"),
            ("HH 'o", "Unterminated quote"),
            ("EEE", "the letter 'E' of a date format is not supported yet"),
        ] {
            assert_eq!(DateFormat::new(pattern, TimeZone::default()).unwrap_err(), expected);
        }
    }
}
