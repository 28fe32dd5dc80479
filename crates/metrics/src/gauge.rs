//! What is looked up when it is read.

use std::fmt;
use std::sync::Arc;

use crate::name::MetricName;
use crate::registry::{Registration, Series};
use crate::value::{MetricValue, Snapshot};

/// Keeps a metric alive that is looked up when it is read.
#[derive(Debug, Clone)]
pub struct Gauge {
    _series: Arc<GaugeSeries>,
}

/// Says what a metric is at a time.
type Look = Box<dyn Fn(i64) -> MetricValue + Send + Sync>;

pub(crate) struct GaugeSeries {
    name: MetricName,
    look: Look,
    _place: Registration,
}

impl Gauge {
    pub(crate) fn of(series: Arc<GaugeSeries>) -> Self {
        Self { _series: series }
    }
}

impl GaugeSeries {
    pub(crate) fn new(name: MetricName, look: Look, place: Registration) -> Self {
        Self { name, look, _place: place }
    }
}

impl Series for GaugeSeries {
    fn collect(&self, now_ms: i64, into: &mut Snapshot) {
        into.insert(self.name.clone(), (self.look)(now_ms));
    }
}

impl fmt::Debug for GaugeSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GaugeSeries({})", self.name)
    }
}
