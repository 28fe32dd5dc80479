//! What the process takes of the machine, where the system tells it as Linux does.

use std::fs;

/// What is known of the process.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) start_seconds: Option<f64>,
    pub(super) virtual_bytes: Option<f64>,
    pub(super) resident_bytes: Option<f64>,
    pub(super) open_descriptors: Option<f64>,
    pub(super) most_descriptors: Option<f64>,
    pub(super) disk_read_bytes: Option<f64>,
    pub(super) disk_written_bytes: Option<f64>,
}

impl Process {
    pub(super) fn look() -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let descriptors = fs::read_dir("/proc/self/fd").map(Iterator::count).ok();
        let io = fs::read_to_string("/proc/self/io").ok();
        let of_stat = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| Stat::parse(&stat));
        let boot = fs::read_to_string("/proc/stat").ok().and_then(|stat| field(&stat, "btime "));
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        Self {
            cpu_seconds: of_stat.as_ref().map(|stat| stat.cpu_ticks / ticks),
            start_seconds: of_stat.as_ref().zip(boot).map(|(stat, boot)| boot + stat.start_ticks / ticks),
            virtual_bytes: of_stat.as_ref().map(|stat| stat.virtual_bytes),
            resident_bytes: of_stat.as_ref().map(|stat| stat.resident_pages * rustix::param::page_size() as f64),
            // The look itself has one open.
            open_descriptors: descriptors.map(|count| count.saturating_sub(1) as f64),
            most_descriptors: limit.current.map(|limit| limit as f64),
            disk_read_bytes: io.as_deref().and_then(|io| field(io, "read_bytes: ")),
            disk_written_bytes: io.as_deref().and_then(|io| field(io, "write_bytes: ")),
        }
    }
}

/// The number in the line that begins so.
fn field(text: &str, begin: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(begin)?.trim().parse().ok())
}

/// What is in `/proc/self/stat`.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    /// Since the system began.
    start_ticks: f64,
    virtual_bytes: f64,
    resident_pages: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name, in parentheses, may hold anything; the state behind it is the third field.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<f64>().ok());
        Some(Self {
            cpu_ticks: number(14)? + number(15)?,
            start_ticks: number(22)?,
            virtual_bytes: number(23)?,
            resident_pages: number(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let line =
            "7 (a) b) (c) S 1 7 7 0 -1 4194560 1 2 3 4 130 25 0 0 20 0 9 0 5000 9999360 77 18446744073709551615 1";
        let expected = Stat { cpu_ticks: 155.0, start_ticks: 5000.0, virtual_bytes: 9_999_360.0, resident_pages: 77.0 };
        assert_eq!(Stat::parse(line), Some(expected));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_is_known_on_linux() {
        let process = Process::look();
        assert!(process.resident_bytes.unwrap() > 1e6 && process.open_descriptors.unwrap() >= 3.0, "{process:?}");
        let age = crate::clock::wall_clock_ms() as f64 / 1000.0 - process.start_seconds.unwrap();
        assert!((-2.0..100_000.0).contains(&age), "{age}");
    }
}
