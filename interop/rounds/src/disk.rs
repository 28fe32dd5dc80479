//! A disk that can be full: a small tmpfs of its own, and a file that takes all room there is.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

const FILLER: &str = "filler";
/// From large to small: the last block that fits leaves less than a page.
const BLOCKS: [usize; 3] = [1 << 20, 1 << 16, 1 << 12];

/// A mounted tmpfs, unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
    filler: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many MiB at an empty directory, which is made.
    ///
    /// # Errors
    /// The right to mount is missing, or there is no `mount`.
    pub fn mount(path: &Path, mib: u32) -> Result<Self> {
        fs::create_dir_all(path)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "vltava-rounds"]).arg(path);
        let out = mount.stdin(Stdio::null()).output().context("no program `mount`")?;
        if !out.status.success() {
            bail!("mount: {}", String::from_utf8_lossy(&out.stderr).trim());
        }
        Ok(Self { path: path.to_owned(), filler: path.join(FILLER) })
    }

    /// Whether this process may mount one.
    ///
    /// # Errors
    /// Why not.
    pub fn is_possible() -> Result<()> {
        let folder = tempfile::tempdir()?;
        Self::mount(folder.path(), 1).map(drop)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes all room that is left; again takes what was given free meanwhile.
    ///
    /// # Errors
    /// Those of the file system but the one that is wanted.
    pub fn fill(&self) -> Result<()> {
        let mut file: File = OpenOptions::new().create(true).append(true).open(&self.filler)?;
        for block in BLOCKS {
            let zeros = vec![0; block];
            loop {
                match file.write(&zeros) {
                    Ok(written) if written == block => {}
                    Ok(_) => break,
                    Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn free(&self) -> Result<()> {
        Ok(fs::remove_file(&self.filler)?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is being killed may still hold files.
        let _ = Command::new("umount").arg("-l").arg(&self.path).stderr(Stdio::null()).status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_takes_nothing_until_it_is_freed() {
        if let Err(why) = SmallDisk::is_possible() {
            // What the command itself says too, in the same place.
            assert!(!why.to_string().is_empty());
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let disk = SmallDisk::mount(folder.path(), 1).unwrap();
        disk.fill().unwrap();
        disk.fill().unwrap();
        let full = fs::write(disk.path().join("a"), vec![0; 8192]);
        assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        disk.free().unwrap();
        fs::write(disk.path().join("a"), vec![0; 8192]).unwrap();
    }
}
