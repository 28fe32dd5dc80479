//! Aggregations over windows.

mod cogrouped;
mod emit;
mod functions;
mod output;
mod session;
mod session_stream;
mod sliding;
mod stream;
mod table;
mod time;

pub use cogrouped::{SessionWindowedCogroupedKStream, TimeWindowedCogroupedKStream};
pub(crate) use functions::Fold;
pub use session_stream::SessionWindowedKStream;
pub(crate) use session_stream::{Merger, write as write_sessions};
pub(crate) use stream::{TimeKind, write as write_time};
pub use stream::{TimeWindowedKStream, TimeWindowsOf};
pub(crate) use table::WindowedTable;
