use super::*;

type Batch = (SeqNo, Vec<Entry>);

fn entry(key: &str, value: Option<&str>) -> Entry {
    (Bytes::copy_from_slice(key.as_bytes()), value.map(|value| Bytes::copy_from_slice(value.as_bytes())))
}

fn append(journal: &mut Journal, seqno: SeqNo, entries: &[Entry]) {
    journal.append(seqno, entries.iter().map(|(key, value)| (&key[..], value.as_deref()))).unwrap();
}

fn open(folder: &Path, next: SeqNo) -> (Recovered, Vec<Batch>) {
    let mut batches: Vec<Batch> = Vec::new();
    let recovered = Journal::open(folder, next, |seqno, entry| match batches.last_mut() {
        Some((last, entries)) if *last == seqno => entries.push(entry),
        _ => batches.push((seqno, vec![entry])),
    });
    (recovered.unwrap(), batches)
}

fn batches() -> Vec<Batch> {
    vec![
        (5, vec![entry("a", Some("1")), entry("b", None), entry("", Some(""))]),
        (6, vec![entry("a", None)]),
        (7, vec![entry("c", Some("3"))]),
    ]
}

fn written(folder: &Path) -> Vec<PathBuf> {
    let (recovered, none) = open(folder, 5);
    assert!(none.is_empty());
    let mut journal = recovered.journal;
    for (seqno, entries) in &batches() {
        append(&mut journal, *seqno, entries);
    }
    journal.rotate()
}

#[test]
fn what_was_appended_is_there_from_the_number_on_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path());
    for (next, skipped) in [(5, 0), (6, 1), (8, 3)] {
        let (recovered, found) = open(folder.path(), next);
        assert_eq!((found, recovered.next, recovered.dropped), (batches().split_off(skipped), 8, 0));
    }
    // Further batches go into another file.
    let mut journal = open(folder.path(), 5).0.journal;
    append(&mut journal, 8, &[entry("d", Some("4"))]);
    let files = journal.rotate();
    assert_eq!(files.len(), 2);
    assert_eq!(open(folder.path(), 5).1.len(), 4);
    remove(&files).unwrap();
    remove(&files).unwrap();
    assert_eq!(open(folder.path(), 9).1, []);
}

#[test]
fn of_a_torn_end_what_is_whole_counts_and_what_follows_it_does_not() {
    for torn in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let file = written(folder.path()).remove(0);
        let bytes = fs::read(&file).unwrap();
        if torn == bytes.len() {
            break;
        }
        let mut changed = bytes.clone();
        changed[torn] ^= 1;
        for damaged in [&bytes[..torn], &changed] {
            fs::write(&file, &bytes).unwrap();
            let mut journal = open(folder.path(), 5).0.journal;
            append(&mut journal, 8, &[entry("later", Some("row"))]);
            fs::write(&file, damaged).unwrap();
            let (recovered, found) = open(folder.path(), 5);
            assert!(batches().starts_with(&found) && found.len() < 3, "{torn}: {found:?}");
            assert!(recovered.dropped > 0);
            // What is appended now is found.
            let mut journal = recovered.journal;
            append(&mut journal, recovered.next, &[entry("new", Some("row"))]);
            let (recovered, again) = open(folder.path(), 5);
            assert_eq!((again.len(), recovered.dropped), (found.len() + 1, 0));
            journal.clear().unwrap();
            assert_eq!(files(folder.path()).unwrap(), []);
        }
    }
}

#[test]
fn nothing_behind_a_gap_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path());
    let (recovered, found) = open(folder.path(), 4);
    assert_eq!((found, recovered.next), (vec![], 4));
    assert!(recovered.dropped > 0);
    assert_eq!(open(folder.path(), 5).1, [], "it is gone");
}
