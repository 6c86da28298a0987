//! What a comparison of one container found.

use crate::containers::{Name, Target};
use crate::output::printable;
use anyhow::{anyhow, Result};
use drift_core::image::view::Image;
use drift_core::scan::packages::{self, Databases, PackageFinding};
use drift_core::scan::ports::{self, Known};
use drift_core::scan::{
    environment, processes, EnvironmentFinding, FileChange, FileFinding, FileScan, Limits, PortFinding,
    ProcessFinding, Summary,
};
use std::path::Path;

/// A container against its image and its deployment.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) container_id: String,
    /// In people's words; see [`Target::title`].
    pub(crate) title: String,
    pub(crate) name: Name,
    pub(crate) pid: i64,
    /// When it started, nanoseconds since the epoch.
    pub(crate) started: Option<u64>,
    /// The image as deployed, where the node's files tell.
    pub(crate) image: Option<String>,
    pub(crate) manifest_state: String,
    pub(crate) files: Vec<FileFinding>,
    /// Package that owns each file's path in the image, in the order of `files`; empty where nobody asked.
    pub(crate) owners: Vec<Option<String>>,
    pub(crate) packages: Vec<PackageFinding>,
    pub(crate) ports: Vec<PortFinding>,
    pub(crate) environment: Vec<EnvironmentFinding>,
    pub(crate) processes: Vec<ProcessFinding>,
    pub(crate) summary: Summary,
    /// What could not be compared besides files and processes.
    pub(crate) not_known: Vec<String>,
}

/// How many things of a container are drift.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Counts {
    // In the order of severity: derived comparison goes by it.
    pub(crate) programs: usize,
    pub(crate) environments: usize,
    pub(crate) ports: usize,
    pub(crate) packages: usize,
    pub(crate) files: usize,
}

impl Report {
    /// How much of each kind is drift.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            programs: self.processes.iter().filter(|p| p.is_drift()).count(),
            environments: self.environment.iter().filter(|e| e.is_drift()).count(),
            ports: self.ports.iter().filter(|p| p.is_drift()).count(),
            packages: self.packages.len(),
            files: self.files.iter().filter(|f| f.change.is_drift()).count(),
        }
    }

    /// Whether anything is not the image's, or not declared.
    pub(crate) fn is_drift(&self) -> bool {
        self.counts() != Counts::default()
    }

    /// Why it is not known that there is no more.
    pub(crate) fn gaps(&self) -> Vec<String> {
        let mut gaps: Vec<String> =
            self.summary.cut.iter().map(|why| format!("ended early: {why}")).collect();
        for (path, why) in &self.summary.gaps {
            gaps.push(format!("{}: {why}", printable(path.as_bytes())));
        }
        let more = self.summary.gap_count.saturating_sub(self.summary.gaps.len() as u64);
        if more > 0 {
            gaps.push(format!("{more} more"));
        }
        gaps.extend(self.not_known.iter().map(|why| printable(why.as_bytes())));
        let unknown = |p: &&ProcessFinding| p.is_unknown() && !p.is_drift();
        gaps.extend(self.processes.iter().filter(unknown).map(|p| {
            let why = if p.why.is_empty() { "not compared" } else { p.why };
            format!("process {}: {}: {why}", p.pid, printable(&p.path))
        }));
        gaps
    }
}

/// Opens a container's files. `image` is one to compare with instead of its own, and the file it is from.
pub(crate) fn open(target: &Target, image: Option<(Image, &Path)>, limits: Limits) -> Result<FileScan> {
    let scan = match image {
        Some((image, listing)) => {
            FileScan::against(&target.host, &target.container, image, Some(listing), limits)
        }
        None => FileScan::open(&target.host, &target.container, None, limits),
    };
    scan.map_err(|why| anyhow!("container {}: {why}", target.container.id))
}

/// Compares. `keep_going` is asked between files; `with_owners`: which package a changed file is of.
pub(crate) fn compare(
    target: &Target,
    scan: &FileScan,
    with_owners: bool,
    keep_going: &mut dyn FnMut() -> bool,
) -> Report {
    let Target { host, container, pids, declared } = target;
    let (mut files, mut databases) = (Vec::new(), Databases::of_systems());
    let summary = scan.run(None, keep_going, &mut |finding| {
        databases.note(&finding);
        files.push(finding);
    });
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let owners = if with_owners { owners(target, &files) } else { Vec::new() };
    let mut running = Vec::new();
    processes::scan(host, container, pids, keep_going, &mut |p| running.push(p));
    let live = container.live.as_ref();
    let mut report = Report {
        container_id: container.id.to_string(),
        title: target.title(),
        name: target.name(),
        pid: live.map_or(0, |live| live.pid()),
        started: live.and_then(|live| live.started),
        image: declared.image.reference.clone(),
        manifest_state: container.manifest_state().to_string(),
        files,
        owners,
        packages: Vec::new(),
        ports: Vec::new(),
        environment: Vec::new(),
        processes: running,
        summary,
        not_known: Vec::new(),
    };
    match packages::scan(host, container, databases, keep_going) {
        Ok(found) => {
            let found = found.unwrap_or_default();
            report.packages = found.packages;
            report.not_known.extend(found.gaps);
        }
        Err(why) => report.not_known.push(format!("packages: {why}")),
    }
    compare_declared(target, &mut report, keep_going);
    report
}

/// The package that owns each file's path in the image.
fn owners(target: &Target, files: &[FileFinding]) -> Vec<Option<String>> {
    let image = target.container.image.as_ref().ok();
    let asked = |f: &FileFinding| f.change != FileChange::Created;
    if let Some(image) = image.filter(|_| files.iter().any(asked)) {
        // What owns a path is worth the reading only where something of the image changed.
        image.layers().iter().for_each(|layer| drift_core::packages::owners::build(layer, || true));
    }
    let owner = |f: &FileFinding| {
        let path = f.image_path.as_ref().unwrap_or(&f.path);
        image.filter(|_| asked(f)).and_then(|i| i.owner(path).ok().flatten())
    };
    files.iter().map(owner).collect()
}

/// What runs, against what was declared of it.
fn compare_declared(target: &Target, report: &mut Report, keep_going: &mut dyn FnMut() -> bool) {
    let Target { host, container, pids, declared } = target;
    let known = Known { declared: Some(declared), allowed: &[] };
    let found = ports::scan(host, container, pids, known, true, keep_going).unwrap_or_default();
    if found.ports.iter().any(|p| p.declared.is_none()) {
        report.not_known.push("ports: what the image declares is not known".to_owned());
    }
    report.ports = found.ports;
    report.not_known.extend(found.gaps.into_iter().map(|why| format!("ports: {why}")));
    match &declared.environment {
        Some(environment) => {
            let found = environment::scan(host, container, pids, environment, keep_going);
            report.environment = found.unwrap_or_default();
        }
        None => report.not_known.push("environment: what was declared is not known".to_owned()),
    }
}
