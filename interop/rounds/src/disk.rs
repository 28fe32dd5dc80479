//! Disks that fail: one that can be full (a small tmpfs of its own, and a file that takes all room there is), and one that
//! can stand still (a file system in a file, frozen for a while).

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
        command(mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "vltava-rounds"]).arg(path))?;
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

/// A file system in a file of its own, unmounted when dropped, and frozen when it is to stand still.
#[derive(Debug)]
pub struct SlowDisk {
    path: PathBuf,
    frozen: bool,
}

impl SlowDisk {
    /// Much more than what a broker writes in the rounds between two looks; the file is sparse.
    const BYTES: u64 = 4 << 30;

    /// Mounts one at a new directory of this name, and keeps its file beside it.
    ///
    /// # Errors
    /// The right to mount is missing, or a program is.
    pub fn mount(folder: &Path, name: &str) -> Result<Self> {
        let (path, image) = (folder.join(name), folder.join(format!("{name}.img")));
        fs::create_dir_all(&path)?;
        File::create(&image)?.set_len(Self::BYTES)?;
        command(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
        command(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&path))?;
        Ok(Self { path, frozen: false })
    }

    /// Whether this process may mount and freeze one.
    ///
    /// # Errors
    /// Why not.
    pub fn is_possible() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut disk = Self::mount(folder.path(), "disk")?;
        disk.freeze()?;
        disk.thaw()
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whoever writes waits from now on.
    ///
    /// # Errors
    /// The file system cannot be frozen.
    pub fn freeze(&mut self) -> Result<()> {
        command(Command::new("fsfreeze").arg("-f").arg(&self.path))?;
        self.frozen = true;
        Ok(())
    }

    /// Whoever waits goes on.
    ///
    /// # Errors
    /// The file system is not frozen.
    pub fn thaw(&mut self) -> Result<()> {
        self.frozen = false;
        command(Command::new("fsfreeze").arg("-u").arg(&self.path))
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        if self.frozen {
            // Else nobody who waits could end.
            let _ = self.thaw();
        }
        let _ = Command::new("umount").arg("-l").arg(&self.path).stderr(Stdio::null()).status();
    }
}

/// Runs a program, with what it complains about in the error.
fn command(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("no program `{name}`"))?;
    if !out.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_stands_lets_writers_wait_and_loses_nothing() {
        if let Err(why) = SlowDisk::is_possible() {
            // What the command itself says too, in the same place.
            assert!(!why.to_string().is_empty());
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut disk = SlowDisk::mount(folder.path(), "disk").unwrap();
        disk.freeze().unwrap();
        let file = disk.path().join("a");
        let (written, is_written) = std::sync::mpsc::channel();
        let writer = std::thread::spawn(move || {
            fs::write(&file, "late").unwrap();
            written.send(()).unwrap();
        });
        assert!(is_written.try_recv().is_err());
        disk.thaw().unwrap();
        writer.join().unwrap();
        assert_eq!(is_written.try_recv(), Ok(()));
        assert_eq!(fs::read(disk.path().join("a")).unwrap(), b"late");
    }

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
