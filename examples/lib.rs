//! Nothing is shared by the examples: each is one file beside this one.
