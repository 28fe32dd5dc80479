mod append;
mod damage;
mod failures;
mod model;
mod producers;
mod read;
mod recovery;
mod retention;
