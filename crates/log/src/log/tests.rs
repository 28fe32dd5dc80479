mod append;
mod failures;
mod producers;
mod read;
mod recovery;
mod retention;
