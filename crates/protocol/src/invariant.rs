//! Promises that code makes to itself.

/// Checks a promise that the code makes to itself, and returns whether it holds.
///
/// A broken one is our mistake and not the world's: it is logged as an error, and panics in builds with debug
/// assertions, so that tests find it. Others go on, and the caller fails the part that is broken:
///
/// ```ignore
/// let Some(leader) = &self.leader_id else {
///     invariant!(false, "group {} has members, so it has a leader", self.id);
///     return Err(ErrorCode::UnknownServerError);
/// };
/// ```
///
/// The crate that uses it depends on `tracing`.
#[macro_export]
macro_rules! invariant {
    ($holds:expr, $($promise:tt)+) => {{
        let holds: bool = $holds;
        if !holds {
            ::tracing::error!("a promise is broken: {}", ::std::format_args!($($promise)+));
        }
        ::std::debug_assert!(holds, $($promise)+);
        holds
    }};
}
