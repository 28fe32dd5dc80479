//! The commands and the content of window and session stores.

use serde_json::{Value as Json, json};
use vltava_streams::{Flow, Result, SessionStore, Window, WindowStore, Windowed, store::StoreAccess};

use super::{Show, argument, show, typed};
use crate::value::Val;

/// An entry with a windowed key, as the expectation of a case shows it.
pub fn entry<const N: usize>(key: Windowed<Val>, rest: [Json; N]) -> Vec<Json> {
    let mut entry = vec![typed(key.key), json!(key.window.start()), json!(key.window.end())];
    entry.extend(rest);
    entry
}

fn number(word: &str) -> i64 {
    word.parse().unwrap()
}

fn windowed<V: Show>(entries: Vec<(Windowed<Val>, V)>) -> String {
    let part = |(key, value): &(Windowed<Val>, V)| {
        format!("[{}@{}/{}]={}", key.key.show(), key.window.start(), key.window.end(), value.show())
    };
    entries.iter().map(part).collect::<Vec<_>>().join(";")
}

fn by_start<V: Show>(entries: Vec<(i64, V)>) -> String {
    entries.iter().map(|(start, value)| format!("{start}={}", value.show())).collect::<Vec<_>>().join(";")
}

pub fn window<V: Flow + Show>(
    store: &mut StoreAccess<'_, WindowStore<Val, V>>,
    words: &[&str],
    wrap: impl Fn(Val, Option<i64>) -> V,
) -> Result<String> {
    let key = |at: usize| argument(words[at]).expect("a key is not null");
    let bound = |at: usize| argument(words[at]);
    Ok(match words[0] {
        "put" => {
            let ts = words.get(4).map(|word| number(word));
            store.put(&key(1), argument(words[2]).map(|value| wrap(value, ts)), number(words[3]))?;
            "ok".to_owned()
        }
        "fetch" if words.len() == 3 => show(store.fetch(&key(1), number(words[2]))?),
        "fetch" => by_start(store.fetch_range(&key(1), number(words[2]), number(words[3]))?),
        "backwardFetch" => by_start(store.backward_fetch_range(&key(1), number(words[2]), number(words[3]))?),
        "fetchRange" => {
            windowed(store.fetch_keys(bound(1).as_ref(), bound(2).as_ref(), number(words[3]), number(words[4]))?)
        }
        "backwardFetchRange" => windowed(store.backward_fetch_keys(
            bound(1).as_ref(),
            bound(2).as_ref(),
            number(words[3]),
            number(words[4]),
        )?),
        "fetchAll" => windowed(store.fetch_all(number(words[1]), number(words[2]))?),
        "backwardFetchAll" => windowed(store.backward_fetch_all(number(words[1]), number(words[2]))?),
        "all" => windowed(store.all()?),
        "backwardAll" => windowed(store.backward_all()?),
        other => panic!("unknown window store command {other}"),
    })
}

pub fn session<V: Flow + Show>(
    store: &mut StoreAccess<'_, SessionStore<Val, V>>,
    words: &[&str],
    wrap: impl Fn(Val) -> V,
) -> Result<String> {
    let key = |at: usize| argument(words[at]).expect("a key is not null");
    let bound = |at: usize| argument(words[at]);
    let at = |at: usize| number(words[at]);
    Ok(match words[0] {
        "put" => {
            let session = Windowed::new(key(1), Window::new(at(3), at(4)));
            store.put(&session, argument(words[2]).map(wrap))?;
            "ok".to_owned()
        }
        "remove" => {
            store.remove(&Windowed::new(key(1), Window::new(at(2), at(3))))?;
            "ok".to_owned()
        }
        "fetchSession" => show(store.fetch_session(&key(1), at(2), at(3))?),
        "findSessions" => windowed(store.find_sessions(&key(1), at(2), at(3))?),
        "backwardFindSessions" => windowed(store.backward_find_sessions(&key(1), at(2), at(3))?),
        "findSessionsRange" => {
            windowed(store.find_sessions_of_keys(bound(1).as_ref(), bound(2).as_ref(), at(3), at(4))?)
        }
        "backwardFindSessionsRange" => {
            windowed(store.backward_find_sessions_of_keys(bound(1).as_ref(), bound(2).as_ref(), at(3), at(4))?)
        }
        "fetch" => windowed(store.fetch(&key(1))?),
        "backwardFetch" => windowed(store.backward_fetch(&key(1))?),
        "fetchRange" => windowed(store.fetch_keys(bound(1).as_ref(), bound(2).as_ref())?),
        "backwardFetchRange" => windowed(store.backward_fetch_keys(bound(1).as_ref(), bound(2).as_ref())?),
        other => panic!("unknown session store command {other}"),
    })
}
