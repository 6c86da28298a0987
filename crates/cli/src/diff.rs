//! `drift diff`: the comparison of one container.

use crate::containers::{find, Target};
use crate::{archive, json, output};
use anyhow::{anyhow, Context, Result};
use drift_core::container::declared::read::read;
use drift_core::container::declared::Declared;
use drift_core::image::view::Image;
use drift_core::scan::packages::{self, Databases, PackageFinding};
use drift_core::scan::ports::{self, Known};
use drift_core::scan::{
    environment, processes, EnvironmentFinding, FileChange, FileFinding, FileScan, Limits, PortFinding,
    ProcessFinding, Summary,
};
use std::path::{Path, PathBuf};

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) container: String,
    pub(crate) json: bool,
    pub(crate) all: bool,
    pub(crate) tar: Option<PathBuf>,
    pub(crate) image: Option<PathBuf>,
    pub(crate) host_root: Option<String>,
    pub(crate) max_findings: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            container: String::new(),
            json: false,
            all: false,
            tar: None,
            image: None,
            host_root: None,
            max_findings: 200_000,
        }
    }
}

/// What a comparison found.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) container_id: String,
    pub(crate) pid: i64,
    /// The image as deployed, where the node's files tell.
    pub(crate) image: Option<String>,
    pub(crate) manifest_state: String,
    pub(crate) files: Vec<FileFinding>,
    /// Package that owns each file's path in the image, in the order of `files`.
    pub(crate) owners: Vec<Option<String>>,
    pub(crate) packages: Vec<PackageFinding>,
    pub(crate) ports: Vec<PortFinding>,
    pub(crate) environment: Vec<EnvironmentFinding>,
    pub(crate) processes: Vec<ProcessFinding>,
    pub(crate) summary: Summary,
    /// What could not be compared besides files and processes.
    pub(crate) not_known: Vec<String>,
}

impl Report {
    /// Whether anything is not the image's, or not declared.
    pub(crate) fn is_drift(&self) -> bool {
        self.files.iter().any(|f| f.change.is_drift())
            || self.processes.iter().any(ProcessFinding::is_drift)
            || !self.packages.is_empty()
            || self.ports.iter().any(PortFinding::is_drift)
            || self.environment.iter().any(EnvironmentFinding::is_drift)
    }

    /// Why it is not known that there is no more.
    pub(crate) fn gaps(&self) -> Vec<String> {
        let mut gaps: Vec<String> =
            self.summary.cut.iter().map(|why| format!("ended early: {why}")).collect();
        for (path, why) in &self.summary.gaps {
            gaps.push(format!("{}: {why}", output::printable(path.as_bytes())));
        }
        let more = self.summary.gap_count.saturating_sub(self.summary.gaps.len() as u64);
        if more > 0 {
            gaps.push(format!("{more} more"));
        }
        gaps.extend(self.not_known.iter().map(|why| output::printable(why.as_bytes())));
        let unknown = |p: &&ProcessFinding| p.is_unknown() && !p.is_drift();
        gaps.extend(self.processes.iter().filter(unknown).map(|p| {
            let why = if p.why.is_empty() { "not compared" } else { p.why };
            format!("process {}: {}: {why}", p.pid, output::printable(&p.path))
        }));
        gaps
    }
}

/// Compares, and prints; `true` when there is drift.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let image = options.image.as_deref().map(load).transpose()?;
    let target = find(&options.container, options.host_root.as_deref(), image.as_ref())?;
    let limits = Limits { max_findings: options.max_findings, ..Limits::default() };
    let scan = match (image, &options.image) {
        (Some(image), Some(listing)) => {
            FileScan::against(&target.host, &target.container, image, Some(listing), limits)
        }
        _ => FileScan::open(&target.host, &target.container, None, limits),
    };
    let scan = scan.map_err(|why| anyhow!("container {}: {why}", target.container.id))?;
    let report = compare(&target, &scan);
    let digests = match options.json || options.tar.is_some() {
        true => output::digests(&report, &scan, limits.max_file),
        false => Vec::new(),
    };
    if let Some(path) = &options.tar {
        archive::write(path, &report, &scan, &digests, limits.max_file)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    match options.json {
        true => json::print(&report, options.all, &digests)?,
        false => output::text(&report, options.all)?,
    }
    match (report.is_drift(), report.gaps()) {
        (true, _) => Ok(true),
        (false, gaps) if gaps.is_empty() => Ok(false),
        (false, gaps) => Err(anyhow!("no drift found, but not everything was compared: {}", gaps.join("; "))),
    }
}

fn load(path: &Path) -> Result<Image> {
    let loaded = drift_core::image::load::load(path, &drift_formats::limits::Limits::default());
    let (image, _) = loaded.with_context(|| format!("reading {}", path.display()))?;
    Ok(image)
}

fn compare(target: &Target, scan: &FileScan) -> Report {
    let Target { host, container, pids, storage_roots } = target;
    let (mut files, mut databases) = (Vec::new(), Databases::of_systems());
    let summary = scan.run(None, &mut || true, &mut |finding| {
        databases.note(&finding);
        files.push(finding);
    });
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let image = container.image.as_ref().ok();
    if let Some(image) = image {
        // What owns a path is worth the reading only where something is found.
        image.layers().iter().for_each(|layer| drift_core::packages::owners::build(layer, || true));
    }
    let owner = |f: &FileFinding| match f.change {
        FileChange::Created => None,
        _ => image.and_then(|i| i.owner(f.image_path.as_ref().unwrap_or(&f.path)).ok().flatten()),
    };
    let owners = files.iter().map(owner).collect();
    let mut running = Vec::new();
    processes::scan(host, container, pids, &mut || true, &mut |p| running.push(p));
    let mut report = Report {
        container_id: container.id.to_string(),
        pid: container.live.as_ref().map_or(0, |live| live.pid()),
        image: None,
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
    match packages::scan(host, container, databases, &mut || true) {
        Ok(found) => {
            let found = found.unwrap_or_default();
            report.packages = found.packages;
            report.not_known.extend(found.gaps);
        }
        Err(why) => report.not_known.push(format!("packages: {why}")),
    }
    let declared = container.live.as_ref().map(|live| read(host, &container.id, live, storage_roots, &[]));
    compare_declared(target, &declared.unwrap_or_default(), &mut report);
    report
}

/// What runs, against what was declared of it.
fn compare_declared(target: &Target, declared: &Declared, report: &mut Report) {
    let Target { host, container, pids, .. } = target;
    report.image.clone_from(&declared.image.reference);
    let known = Known { declared: Some(declared), allowed: &[] };
    let found = ports::scan(host, container, pids, known, true, &mut || true).unwrap_or_default();
    if found.ports.iter().any(|p| p.declared.is_none()) {
        report.not_known.push("ports: what the image declares is not known".to_owned());
    }
    report.ports = found.ports;
    report.not_known.extend(found.gaps.into_iter().map(|why| format!("ports: {why}")));
    match &declared.environment {
        Some(environment) => {
            let found = environment::scan(host, container, pids, environment, &mut || true);
            report.environment = found.unwrap_or_default();
        }
        None => report.not_known.push("environment: what was declared is not known".to_owned()),
    }
}
