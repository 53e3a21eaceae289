//! Cells of 64 bits with one writer each: a worker adds with a relaxed load and a relaxed store, a
//! reader may look at any time. Numbers of cells are the same in all shards, so that a handle is one
//! number and merging is adding up.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

const CHUNK: usize = 1024;
const CHUNKS: usize = 1024;
/// As many cells as there can be; what does not fit goes to cell 0, which nobody reads.
pub(crate) const MAX_CELLS: u32 = (CHUNK * CHUNKS) as u32;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter(pub(crate) u32);

/// Goes up and down; the sum over all workers is what counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge(pub(crate) u32);

/// Buckets and a sum: one cell per bound, one beyond the last bound, one for the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram(pub(crate) u32);

/// Envoy's and Istio's bounds.
pub(crate) const BOUNDS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];
pub(crate) const HISTOGRAM_CELLS: u32 = BOUNDS.len() as u32 + 2;

pub(crate) type Chunk = [AtomicU64; CHUNK];

/// The cells of one shard; chunks appear when they are first written to.
#[derive(Debug)]
pub(crate) struct Cells {
    chunks: Box<[OnceLock<Box<Chunk>>]>,
}

impl Cells {
    pub(crate) fn new() -> Self {
        Self { chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect() }
    }

    pub(crate) fn read(&self, cell: u32) -> u64 {
        let chunk = self.chunks.get(cell as usize / CHUNK).and_then(OnceLock::get);
        chunk.map_or(0, |chunk| chunk[cell as usize % CHUNK].load(Relaxed))
    }

    fn cell(&self, cell: u32) -> &AtomicU64 {
        let chunk = &self.chunks[(cell as usize / CHUNK) % CHUNKS];
        let chunk = chunk.get_or_init(|| Box::new([const { AtomicU64::new(0) }; CHUNK]));
        &chunk[cell as usize % CHUNK]
    }
}

/// What one worker writes to. Not shared: the type is `Send` but has one owner.
#[derive(Debug)]
pub struct Shard {
    cells: Arc<Cells>,
    /// Makes the type `!Sync`: two writers would lose counts.
    alone: std::marker::PhantomData<std::cell::Cell<()>>,
}

impl Shard {
    pub(crate) fn new(cells: Arc<Cells>) -> Self {
        Self { cells, alone: std::marker::PhantomData }
    }

    pub fn inc(&self, counter: Counter) {
        self.add(counter, 1);
    }

    pub fn add(&self, counter: Counter, n: u64) {
        self.change(counter.0, n);
    }

    pub fn up(&self, gauge: Gauge) {
        self.change(gauge.0, 1);
    }

    pub fn down(&self, gauge: Gauge) {
        self.change(gauge.0, 1u64.wrapping_neg());
    }

    /// Sets this shard's part of the sum.
    pub fn set(&self, gauge: Gauge, value: u64) {
        self.cells.cell(gauge.0).store(value, Relaxed);
    }

    pub fn observe(&self, histogram: Histogram, value: u64) {
        let bucket = BOUNDS.partition_point(|bound| *bound < value as f64) as u32;
        self.change(histogram.0 + bucket, 1);
        self.change(histogram.0 + HISTOGRAM_CELLS - 1, value);
    }

    /// This shard's part of the sum.
    pub fn own(&self, gauge: Gauge) -> u64 {
        self.cells.read(gauge.0)
    }

    fn change(&self, cell: u32, n: u64) {
        let cell = self.cells.cell(cell);
        cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
    }
}
