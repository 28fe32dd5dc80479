//! Whatever happens to a store's files, a row is read as it was written, or the damage is told.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::NOTE;
use crate::{
    error::Result,
    state::{KeyValueBytesStore, LsmEngine, LsmKeyValueStore, LsmOptions, Order},
};

const KEYS: u32 = 300;
const OFFSET: i64 = 1234;

fn value(key: u32) -> Vec<u8> {
    (0..40).map(|at| (key.wrapping_mul(2_654_435_761) >> (at % 24)) as u8).collect()
}

/// Two tables, of which the second hides a part of the first.
fn write_store(engine: &LsmEngine, path: &Path) {
    for round in 0..2 {
        let mut store = engine.open("rows", path).unwrap();
        for key in (0..KEYS).filter(|key| round == 0 || key % 3 == 0) {
            let written = if round == 0 && key % 3 == 0 { value(key + 1) } else { value(key) };
            store.put(&key.to_be_bytes(), Some(&written)).unwrap();
        }
        store.commit(Some(OFFSET + round - 1)).unwrap();
        store.close().unwrap();
    }
}

fn read_store(store: &LsmKeyValueStore) -> Result<()> {
    if let Some(offset) = store.committed_offset()? {
        assert_eq!(offset, OFFSET);
    }
    for key in 0..KEYS {
        let found = store.get(&key.to_be_bytes())?;
        assert_eq!(found.as_deref(), Some(&value(key)[..]), "key {key}");
    }
    let mut next = 0;
    for entry in store.all(Order::Forward)? {
        let (key, found) = entry?;
        assert_eq!((&key[..], &found[..]), (&u32::to_be_bytes(next)[..], &value(next)[..]));
        next += 1;
    }
    assert_eq!(next, KEYS);
    Ok(())
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
}

#[derive(Debug)]
enum Harm {
    Delete,
    CutTo(usize),
    Flip(usize, u8),
}

fn harms(len: usize) -> Vec<Harm> {
    let mut harms = vec![Harm::Delete, Harm::CutTo(0), Harm::CutTo(len / 2), Harm::CutTo(len - 1)];
    // Everywhere in small files, in steps of a prime in large ones.
    let step = if len < 1000 { 1 } else { 97 };
    harms.extend((0..len).step_by(step).map(|at| Harm::Flip(at, 1 << (at % 8))));
    harms
}

fn harm(file: &Path, harm: &Harm) {
    let mut bytes = fs::read(file).unwrap();
    match harm {
        Harm::Delete => return fs::remove_file(file).unwrap(),
        Harm::CutTo(len) => bytes.truncate(*len),
        Harm::Flip(at, bit) => bytes[*at] ^= bit,
    }
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_damaged_store_tells_its_damage_and_reads_nothing_wrong() {
    let engine = LsmEngine::new(LsmOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    write_store(&engine, &whole);
    read_store(&engine.open("rows", &whole).unwrap()).unwrap();
    let (mut tried, mut told) = (0, 0);
    for file in files(&whole) {
        for what in harms(fs::metadata(&file).unwrap().len() as usize) {
            let path = folder.path().join("harmed");
            copy(&whole, &path);
            let name = file.strip_prefix(&whole).unwrap();
            harm(&path.join(name), &what);
            let found = engine.open("rows", &path).and_then(|store| read_store(&store));
            if let Err(error) = found {
                told += 1;
                assert!(error.is_corrupted_store(), "{what:?} {name:?}: {error}");
                let again = engine.open("rows", &path).err();
                assert!(again.is_some_and(|error| error.is_corrupted_store()), "{what:?} {name:?}: forgotten");
            }
            tried += 1;
            fs::remove_dir_all(&path).unwrap();
        }
    }
    // Some bytes are of no account, such as padding and what a newer version would read.
    assert!(told * 10 > tried * 7, "only {told} of {tried} showed");
}

#[test]
fn a_store_that_was_found_damaged_is_not_opened_again() {
    let engine = LsmEngine::new(LsmOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    write_store(&engine, folder.path());
    let table = files(&folder.path().join("tables")).remove(0);
    let store = engine.open("rows", folder.path()).unwrap();
    harm(&table, &Harm::Flip(10, 1));
    let error = (0..KEYS).find_map(|key| store.get(&key.to_be_bytes()).err()).unwrap();
    assert!(error.to_string().contains("are damaged: reading: "), "{error}");
    drop(store);
    assert!(folder.path().join(NOTE).exists());
    harm(&table, &Harm::Flip(10, 1));
    let error = engine.open("rows", folder.path()).unwrap_err().to_string();
    assert!(error.contains("found before, reading: "), "{error}");
}

#[test]
fn a_disk_that_cannot_be_read_is_no_damage() {
    use super::Failure;
    let io = |kind: std::io::ErrorKind| Failure::Tree(lsm_tree::Error::Io(kind.into()));
    assert!(!io(std::io::ErrorKind::StorageFull).is_damage());
    assert!(!io(std::io::ErrorKind::PermissionDenied).is_damage());
    assert!(io(std::io::ErrorKind::UnexpectedEof).is_damage());
    assert!(io(std::io::ErrorKind::NotFound).is_damage());
}
