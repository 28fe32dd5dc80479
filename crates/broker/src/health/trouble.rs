//! What is wrong now.

use std::path::Path;

use crate::partitions::DirView;
use crate::services::Services;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// What it is about: the same as long as it lasts, whatever the words are.
    pub(super) subject: String,
    pub(super) words: String,
    /// Whether a restart is what ends it, once the cause is gone.
    pub(super) ends_with_a_restart: bool,
}

/// Looks. Waits for the disks.
pub(super) fn look(services: &Services) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for dir in services.partitions.storage().views() {
        troubles.extend(of_directory(&dir));
    }
    let image = services.metadata.image();
    let partitions = image.topics().flat_map(|topic| &topic.partitions);
    let offline = partitions.filter(|partition| partition.leader < 0).count();
    if offline > 0 {
        let words = format!("{offline} partitions are offline: they can be neither written nor read");
        troubles.push(Trouble { subject: "offline partitions".to_owned(), words, ends_with_a_restart: true });
    }
    troubles
}

fn of_directory(dir: &DirView<'_>) -> Option<Trouble> {
    let path = dir.path.display();
    let subject = format!("log directory {path}");
    if let Some(reason) = &dir.failure {
        let words = format!("{subject} is offline until the broker is started again: {reason}");
        return Some(Trouble { subject, words, ends_with_a_restart: true });
    }
    let space = Space::of(dir.path)?;
    let words = space.complaint()?;
    Some(Trouble { words: format!("{subject}: {words}"), subject, ends_with_a_restart: false })
}

/// What a disk has, in bytes.
#[derive(Debug, Clone, Copy)]
struct Space {
    left: u64,
    all: u64,
}

/// Where less is left than this, and than a twentieth of the disk, it is said.
const LITTLE: u64 = 1024 * 1024 * 1024;

impl Space {
    fn of(path: &Path) -> Option<Self> {
        let found = rustix::fs::statvfs(path).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Some(Self { left: bytes(found.f_bavail), all: bytes(found.f_blocks) })
    }

    fn complaint(self) -> Option<String> {
        const MIB: u64 = 1024 * 1024;
        let Self { left, all } = self;
        let is_little = left < LITTLE && left < all / 20;
        is_little.then(|| {
            format!(
                "its disk is almost full, {} of {} MiB are left; it goes offline when nothing can be written",
                left / MIB,
                all / MIB
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn little_space_is_said_before_it_is_none() {
        for (left, all, is_said) in [
            (0, 100 * MIB, true),
            (4 * MIB, 100 * MIB, true),
            (6 * MIB, 100 * MIB, false),
            (1023 * MIB, 100_000 * MIB, true),
            (1024 * MIB, 100_000 * MIB, false),
        ] {
            assert_eq!(Space { left, all }.complaint().is_some(), is_said, "{left} of {all}");
        }
        let words = Space { left: 4 * MIB, all: 100 * MIB }.complaint().unwrap();
        assert!(words.starts_with("its disk is almost full, 4 of 100 MiB are left"), "{words}");
    }

    #[test]
    fn an_offline_directory_says_why() {
        let dir = DirView {
            path: Path::new("/d"),
            id: None,
            is_online: false,
            failure: Some("a write failed: disk full".to_owned()),
        };
        let trouble = of_directory(&dir).unwrap();
        assert_eq!(trouble.subject, "log directory /d");
        assert_eq!(
            trouble.words,
            "log directory /d is offline until the broker is started again: a write failed: disk full"
        );
        assert!(trouble.ends_with_a_restart);
    }
}
