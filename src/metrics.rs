//! Counters, shared by all threads of an instance: atomics only, because `get_metrics` runs on a thread of
//! its own.
//!
//! Names must not contain `_kb _bytes _mb _perc _ratio _ns _ts _sec _total`: Falco takes such endings for
//! units and rewrites them (falco `userspace/falco/falco_metrics.cpp`).

use std::sync::atomic::{AtomicU64, Ordering};

/// Panics caught at the C interface since the library was loaded, of all instances.
static INTERFACE_PANICS: AtomicU64 = AtomicU64::new(0);

/// Counts a panic caught at the C interface.
pub(crate) fn note_panic() {
    INTERFACE_PANICS.fetch_add(1, Ordering::Relaxed);
}

/// Number of panics caught at the C interface so far.
pub(crate) fn interface_panics() -> u64 {
    INTERFACE_PANICS.load(Ordering::Relaxed)
}

/// A counter or gauge.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether a metric only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ident,)+) => {
        /// All metrics of an instance.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[doc = $doc])+ pub $name: Counter,)+
        }

        impl Metrics {
            /// Name (with a NUL, for the C interface), kind, meaning and value of each.
            pub fn list(&self) -> Vec<(&'static std::ffi::CStr, Kind, &'static str, u64)> {
                vec![$((
                    std::ffi::CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes())
                        .unwrap_or(c"unnamed"),
                    Kind::$kind,
                    concat!($($doc),+).trim(),
                    self.$name.get(),
                ),)+]
            }
        }
    };
}

metrics! {
    /// Containers known.
    containers: Gauge,
    /// Image layers known.
    layers: Gauge,
    /// Paths in layer indexes.
    indexed_files: Gauge,
    /// Memory of layer indexes, in bytes.
    indexed_size: Gauge,
    /// Layers whose index has holes.
    layers_partial: Counter,
    /// Questions answered from memory.
    hits: Counter,
    /// Questions that needed a first look.
    lookups: Counter,
    /// Verdicts `unknown` because the image is not known.
    unknown_no_image: Counter,
    /// Verdicts `unknown` because a layer could not be told or read.
    unknown_layer: Counter,
    /// Verdicts `unknown` because the mount or the working directory is not known.
    unknown_mount: Counter,
    /// Verdicts `unknown` for another reason.
    unknown_other: Counter,
    /// Work waiting for the background threads.
    queue_length: Gauge,
    /// Work dropped because a queue was full.
    queue_full: Counter,
    /// Work dropped because a container had its share of a queue or table already.
    over_share: Counter,
    /// Images that were not indexed.
    indexer_dropped: Counter,
    /// Files that were not compared or hashed when they were first asked for.
    verifier_dropped: Counter,
    /// Opened libraries that were not looked at.
    libraries_dropped: Counter,
    /// Files that interpreters read, and writes to memory, that were not looked at.
    code_dropped: Counter,
    /// Containers whose declaration was not read when it was first asked for, and ports and environments that
    /// were not judged.
    declarer_dropped: Counter,
    /// Peers and containers that were not taken into the network's baselines.
    network_dropped: Counter,
    /// Files compared or hashed in the background.
    verified: Counter,
    /// Files that could not be read while they were compared or hashed; their verdict stays
    /// `image_unverified`.
    verify_failed: Counter,
    /// Changed paths waiting to be compared with the image.
    files_waiting: Gauge,
    /// Changes of files that were not compared, because too many were waiting.
    files_dropped: Counter,
    /// Changes of files that could not be told: the container was gone, or its image could not be read.
    files_unknown: Counter,
    /// Changes of files reported by the event `drift_file`.
    files_changed: Counter,
    /// Libraries that were loaded and are not the image's, reported by the event `drift_library`.
    libraries_loaded: Counter,
    /// Files of code that were read and are not the image's, reported by the event `drift_code`.
    code_loaded: Counter,
    /// Packages that were installed, upgraded or removed in containers, reported by the event
    /// `drift_packages`.
    packages_changed: Counter,
    /// Changes of packages of which not all could be told: a database could not be read, or there were too
    /// many.
    packages_unknown: Counter,
    /// Changes of packages that were told early or not at all, because too many were waiting.
    packages_dropped: Counter,
    /// Containers whose declaration (image, deployment) was read whole.
    declared: Counter,
    /// Containers of whose declaration a part could not be read.
    declared_partly: Counter,
    /// Times that the changed list of approved images could not be read; the last good one counts.
    approved_failed: Counter,
    /// Images whose peers are being learned.
    network_learning: Gauge,
    /// Peers learned, of all images.
    network_learned: Gauge,
    /// Times that changed baselines of the network could not be read; the last good ones count.
    network_failed: Counter,
    /// Times that what was learned of the network could not be stored.
    network_unsaved: Counter,
    /// Comparisons of a container with its image by the event source `drift`.
    source_scans: Counter,
    /// Events that the source `drift` has sent.
    source_events: Counter,
    /// Comparisons by the source `drift` that did not reach everything.
    source_incomplete: Counter,
    /// Panics caught at the C interface and in workers; any is a bug.
    panics_caught: Gauge,
    /// Panics of workers, which were started again.
    worker_panics: Counter,
    /// Threads that did not end in time when drift was stopped.
    workers_abandoned: Counter,
}

impl Metrics {
    /// Notes the layer cache's sums.
    pub fn note_cache(&self, totals: drift_core::image::cache::CacheTotals) {
        self.layers.set(totals.layers);
        self.indexed_files.set(totals.files);
        self.indexed_size.set(totals.bytes);
    }

    /// Counts a verdict `unknown` by its reason.
    pub fn count_unknown(&self, why: &str) {
        match why {
            "image not known" => self.unknown_no_image.inc(),
            "layer not known"
            | "in no layer"
            | "image layer not readable"
            | "writable layer not readable" => {
                self.unknown_layer.inc();
            }
            "mount not found" | "mounts not known" | "working directory not known" => {
                self.unknown_mount.inc()
            }
            _ => self.unknown_other.inc(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_clear_of_falcos_units() {
        let metrics = Metrics::default();
        for (name, _, doc, _) in metrics.list() {
            let name = name.to_str().unwrap();
            for unit in ["_kb", "_bytes", "_mb", "_perc", "_ratio", "_ns", "_ts", "_sec", "_total"] {
                assert!(!name.contains(unit), "{name} contains {unit}");
            }
            assert!(!doc.is_empty());
        }
    }
}
