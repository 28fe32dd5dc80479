//! Stores and engines over an engine: what they only pass on to it.

/// Methods that do what those of the engine under `self.…` do.
macro_rules! forward {
    ($engine:tt: $($method:ident)*) => { $($crate::state::forward!(@$method $engine);)* };
    (@persistent [$($engine:tt)*]) => {
        fn persistent(&self) -> bool {
            self.$($engine)*.persistent()
        }
    };
    (@commit [$($engine:tt)*]) => {
        fn commit(&mut self, changelog_offset: Option<i64>) -> $crate::error::Result<()> {
            self.$($engine)*.commit(changelog_offset)
        }
        $crate::state::forward!(@commit_offsets [$($engine)*]);
    };
    (@commit_offsets [$($engine:tt)*]) => {
        fn committed_offset(&self) -> $crate::error::Result<Option<i64>> {
            self.$($engine)*.committed_offset()
        }
        fn is_restoration_written(&mut self) -> $crate::error::Result<bool> {
            self.$($engine)*.is_restoration_written()
        }
        fn end_restoration(&mut self) -> $crate::error::Result<()> {
            self.$($engine)*.end_restoration()
        }
        fn needs_commit(&self) -> bool {
            self.$($engine)*.needs_commit()
        }
        fn uncommitted_bytes(&self) -> u64 {
            self.$($engine)*.uncommitted_bytes()
        }
    };
    (@commit_partitions [$($engine:tt)*]) => {
        fn commit_partitions(&mut self, offsets: &std::collections::BTreeMap<i32, i64>) -> $crate::error::Result<()> {
            self.$($engine)*.commit_partitions(offsets)
        }
        fn committed_partitions(&self) -> $crate::error::Result<Option<std::collections::BTreeMap<i32, i64>>> {
            self.$($engine)*.committed_partitions()
        }
    };
    (@forget [$($engine:tt)*]) => {
        fn forget(&mut self) -> $crate::error::Result<bool> {
            self.$($engine)*.forget()
        }
    };
    (@read_committed [$($engine:tt)*]) => {
        fn read_committed(&mut self, only: bool) {
            self.$($engine)*.read_committed(only);
        }
    };
    (@clear [$($engine:tt)*]) => {
        fn clear(&mut self) -> $crate::error::Result<()> {
            self.$($engine)*.clear()
        }
    };
    (@close [$($engine:tt)*]) => {
        fn close(&mut self) -> $crate::error::Result<()> {
            self.$($engine)*.close()
        }
    };
    (@raw_entries [$($engine:tt)*]) => {
        fn raw_entries(&self) -> Option<$crate::error::Result<Vec<(bytes::Bytes, bytes::Bytes)>>> {
            Some(self.$($engine)*.all($crate::state::Order::Forward).and_then(Iterator::collect))
        }
    };
}
pub(crate) use forward;
