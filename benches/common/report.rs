//! Numbers: percentiles, one table on stdout, and `bench.json` in the target folder.
//!
//! Each benchmark program replaces its own group (what is before the first `/` of a name) in that file.

use std::path::PathBuf;

/// One number.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Row {
    /// `group/what/which`.
    pub name: String,
    pub value: f64,
    pub unit: String,
    /// The value over the rival's, where there is one.
    pub ratio: Option<f64>,
}

/// The rows of one program.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a number and prints it.
    pub fn add(&mut self, name: &str, value: f64, unit: &str, ratio: Option<f64>) {
        if self.rows.is_empty() {
            println!("{:<64} {:>14} {:<10} {:>7}", "name", "value", "unit", "ratio");
        }
        let shown = ratio.map_or_else(String::new, |r| format!("{r:.2}"));
        println!("{name:<64} {value:>14.2} {unit:<10} {shown:>7}");
        self.rows.push(Row { name: name.into(), value, unit: unit.into(), ratio });
    }

    /// Adds the usual percentiles of times in nanoseconds; the ratio is that of the medians.
    pub fn times(&mut self, name: &str, times: &mut [u64], rival: Option<f64>) -> f64 {
        times.sort_unstable();
        let median = percentile(times, 50.0);
        self.add(&format!("{name}/p50"), median, "ns", rival.map(|r| median / r));
        self.add(&format!("{name}/p99"), percentile(times, 99.0), "ns", None);
        self.add(&format!("{name}/p99.9"), percentile(times, 99.9), "ns", None);
        median
    }

    /// Writes the rows to `bench.json`, in place of those of the same groups. A short run's are not worth
    /// keeping.
    pub fn write(self) {
        if quick() {
            return;
        }
        let path = target().join("bench.json");
        let group = |name: &str| name.split('/').next().unwrap_or_default().to_owned();
        let ours: Vec<String> = self.rows.iter().map(|r| group(&r.name)).collect();
        let old = std::fs::read(&path).ok().and_then(|b| serde_json::from_slice::<Vec<Row>>(&b).ok());
        let kept = old.unwrap_or_default().into_iter().filter(|r| !ours.contains(&group(&r.name)));
        let rows: Vec<Row> = kept.chain(self.rows.iter().cloned()).collect();
        std::fs::write(&path, serde_json::to_string_pretty(&rows).unwrap()).unwrap();
        println!("\nwritten to {}\n", path.display());
    }
}

/// The value below which `percent` of sorted `times` lie.
pub fn percentile(times: &[u64], percent: f64) -> f64 {
    let at = (times.len() as f64 * percent / 100.0) as usize;
    times.get(at.min(times.len().saturating_sub(1))).map_or(f64::NAN, |t| *t as f64)
}

/// The median of any numbers.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    (low + high) / 2.0
}

/// Smallest and largest.
pub fn spread(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(*v), hi.max(*v)))
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    testkit::target_dir()
}

/// Whether only a short run is wanted, which shows that the benchmarks work and measures nothing.
pub fn quick() -> bool {
    std::env::args().any(|a| a == "--quick")
}
