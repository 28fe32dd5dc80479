//! Programs that the measurements run; see `src/bin`.
