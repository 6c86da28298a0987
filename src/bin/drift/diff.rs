//! `drift diff`: the comparison of one container.

use crate::containers::{find, Target};
use crate::{archive, output};
use anyhow::{anyhow, Context, Result};
use drift::manifest::image::Image;
use drift::scan::processes::{self, ProcessFinding};
use drift::scan::{FileChange, FileFinding, FileScan, Limits, Summary};
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
    pub(crate) manifest_state: String,
    pub(crate) files: Vec<FileFinding>,
    /// Package that owns each file's path in the image, in the order of `files`.
    pub(crate) packages: Vec<Option<String>>,
    pub(crate) processes: Vec<ProcessFinding>,
    pub(crate) summary: Summary,
}

impl Report {
    /// Whether anything is not the image's.
    pub(crate) fn is_drift(&self) -> bool {
        self.files.iter().any(|f| f.change.is_drift()) || self.processes.iter().any(ProcessFinding::is_drift)
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
        true => output::json(&report, options.all, &digests)?,
        false => output::text(&report, options.all)?,
    }
    match (report.is_drift(), report.gaps()) {
        (true, _) => Ok(true),
        (false, gaps) if gaps.is_empty() => Ok(false),
        (false, gaps) => Err(anyhow!("no drift found, but not everything was compared: {}", gaps.join("; "))),
    }
}

fn load(path: &Path) -> Result<Image> {
    let loaded = drift::prebuilt::load(path, &drift::manifest::limits::Limits::default());
    let (image, _) = loaded.with_context(|| format!("reading {}", path.display()))?;
    Ok(image)
}

fn compare(target: &Target, scan: &FileScan) -> Report {
    let mut files = Vec::new();
    let summary = scan.run(None, &mut || true, &mut |finding| files.push(finding));
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let image = target.container.image.as_ref().ok();
    if let Some(image) = image {
        // What owns a path is worth the reading only where something is found.
        image.layers().iter().for_each(|layer| layer.build_owners(|| true));
    }
    let owned = |f: &FileFinding| {
        matches!(f.change, FileChange::Created).then_some(None).unwrap_or_else(|| {
            image.and_then(|i| i.owner(f.image_path.as_ref().unwrap_or(&f.path)).ok().flatten())
        })
    };
    let packages = files.iter().map(owned).collect();
    let mut running = Vec::new();
    processes::scan(&target.host, &target.container, &target.pids, &mut || true, &mut |p| running.push(p));
    Report {
        container_id: target.container.id.to_string(),
        pid: target.container.live.as_ref().map_or(0, |live| live.pid()),
        manifest_state: target.container.manifest_state().to_string(),
        files,
        packages,
        processes: running,
        summary,
    }
}
