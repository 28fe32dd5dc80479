//! What of Java shows in the output of Kafka's tools: the order of a `HashMap`, the form of numbers.

pub(crate) mod date_format;
pub(crate) mod random;
pub(crate) mod time;
pub(crate) mod time_zone;

use vltava_client::TopicPartition;
use vltava_protocol::java;

/// A key of a Java `HashMap`.
pub(crate) trait JavaHash {
    /// Java's `hashCode()`.
    fn hash_code(&self) -> i32;
}

impl JavaHash for str {
    fn hash_code(&self) -> i32 {
        java::string_hash(self)
    }
}

impl JavaHash for String {
    fn hash_code(&self) -> i32 {
        java::string_hash(self)
    }
}

impl JavaHash for i64 {
    fn hash_code(&self) -> i32 {
        java::long_hash(*self)
    }
}

impl JavaHash for TopicPartition {
    fn hash_code(&self) -> i32 {
        java::partition_hash(self.topic(), self.partition())
    }
}

/// Sorts into the order in which a `HashMap` of Java iterates that was made for `capacity` entries
/// (16 where Java's default is used) and got these in turn.
pub(crate) fn hash_map_order<T, K: JavaHash + ?Sized>(entries: &mut [T], capacity: usize, key: impl Fn(&T) -> &K) {
    let table = java::made_for(capacity, entries.len());
    java::sort_by_bucket(entries, table, |entry| key(entry).hash_code());
}

/// A `double` as Java prints it.
pub(crate) fn double(value: f64) -> String {
    floating(&format!("{value:e}"), value)
}

/// A `float` as Java prints it.
pub(crate) fn float(value: f32) -> String {
    floating(&format!("{value:e}"), f64::from(value))
}

/// A number as Java's `%.4f` prints it.
pub(crate) fn fixed4(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { double(value) }
}

/// A floating-point number as Java prints it: plain between a thousandth and ten million, with an
/// exponent outside. `scientific` is Rust's shortest form with an exponent.
fn floating(scientific: &str, value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value == 0.0 || (-3..7).contains(&exponent) {
        let negative = mantissa.starts_with('-');
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        let plain = plain(&digits, exponent);
        return if negative { format!("-{plain}") } else { plain };
    }
    let fraction = if mantissa.contains('.') { "" } else { ".0" };
    format!("{mantissa}{fraction}E{exponent}")
}

/// Digits with the point after the first one moved by `exponent`, and a digit on both of its sides.
fn plain(digits: &str, exponent: i32) -> String {
    let Ok(whole) = usize::try_from(exponent) else {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("0.{zeros}{digits}");
    };
    let padded = format!("{digits:0<width$}", width = whole + 2);
    let (before, after) = padded.split_at(whole + 1);
    format!("{before}.{after}")
}

#[cfg(test)]
mod tests {
    use super::hash_map_order;

    #[test]
    fn order_is_by_bucket() {
        // "a" to "d" have the hashes 97 to 100: buckets 1 to 4 of 16.
        let mut letters = ["d", "b", "a", "c"];
        hash_map_order(&mut letters, 16, |letter| *letter);
        assert_eq!(letters, ["a", "b", "c", "d"]);
        // In a table of four buckets, "d" (100) comes first; three entries fit into it.
        let mut letters = ["b", "c", "d"];
        hash_map_order(&mut letters, 3, |letter| *letter);
        assert_eq!(letters, ["d", "b", "c"]);
        // A fourth makes it grow to eight.
        let mut letters = ["a", "b", "c", "d"];
        hash_map_order(&mut letters, 4, |letter| *letter);
        assert_eq!(letters, ["a", "b", "c", "d"]);
    }
}
