//! Tasks of a runtime.

use std::pin::Pin;

use tokio::{runtime::Handle, task::JoinHandle};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Begins a task. All are of one type: for each of a type of its own the runtime would be compiled again.
pub(crate) fn spawn(runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let task: Task = Box::pin(task);
    runtime.spawn(task)
}
