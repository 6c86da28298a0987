//! The checks of one container, in one comparison.
//!
//! Each tells what it finds, and then what is gone since the last comparison, unless it did not see
//! everything.

use super::event::Payload;
use super::params::Check;
use super::scanner::{Closed, Outlet, FRESH};
use super::told::Told;
use crate::config::Config;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::workers::Pace;
use drift_core::container::declared::Declared;
use drift_core::container::mounts::Sight;
use drift_core::container::registry::Container;
use drift_core::container::running::running;
use drift_core::content;
use drift_core::host::{Host, RootDir};
use drift_core::policy::approved::{Approval, Approved};
use drift_core::scan::packages::{self, Databases};
use drift_core::scan::ports::{self, Known};
use drift_core::scan::{environment, processes, FileChange, FileFinding, FileScan, Limits, Memory, Summary};
use drift_core::verdict::origin::Origin;
use drift_formats::entry::ImagePath;
use rustix::fs::FileType;
use std::collections::HashSet;
use std::hash::Hash;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// One comparison of one container.
pub(super) struct Round<'a> {
    pub(super) host: &'a Host,
    pub(super) config: &'a Config,
    pub(super) metrics: &'a Metrics,
    pub(super) outlet: &'a Outlet,
    pub(super) container: &'a Container,
    /// What was declared of it, as far as that is known.
    pub(super) declared: Option<Arc<Declared>>,
    /// The list of approved images, where there is one.
    pub(super) approved: Option<Arc<Approved>>,
    /// The container's processes, and when they were found.
    pub(super) pids: &'a mut Vec<i64>,
    pub(super) pids_at: Instant,
    pub(super) told: &'a mut Told,
    pub(super) memory: &'a mut Memory,
    pub(super) pace: &'a mut Pace,
    pub(super) max_findings: u64,
    /// When the source was opened, nanoseconds since the epoch.
    pub(super) opened: u64,
    /// Databases of packages that files told of; `None` where not all files were looked at.
    pub(super) databases: Option<Databases>,
}

impl Round<'_> {
    /// Does one check.
    pub(super) fn check(&mut self, check: Check) -> Result<(), Closed> {
        let of_processes = matches!(check, Check::Processes | Check::Ports | Check::Environment);
        // The files may have taken minutes.
        if of_processes && self.pids_at.elapsed() >= FRESH {
            self.pids_at = Instant::now();
            let mut all = running(self.host).into_iter();
            *self.pids = all.find(|r| r.id == self.container.id).map_or_else(Vec::new, |r| r.pids);
        }
        match check {
            Check::Files => self.files(),
            Check::Processes => self.processes(),
            Check::Packages => self.packages(),
            Check::Ports => self.ports(),
            Check::Environment => self.environment(),
            Check::Image => self.image(),
            Check::Rootfs => self.rootfs(),
        }
    }

    fn files(&mut self) -> Result<(), Closed> {
        let limits = Limits { max_findings: self.max_findings, ..Limits::default() };
        let limits = Limits { max_file: self.config.background_max, ..limits };
        let listing = self.listing();
        let scan = match FileScan::open(self.host, self.container, listing.as_deref(), limits) {
            Ok(scan) => scan,
            Err(why) => return self.incomplete(Check::Files, &why),
        };
        if let Ok(image) = &self.container.image {
            image
                .layers()
                .iter()
                .for_each(|layer| drift_core::packages::owners::build(layer, || self.pace.step()));
        }
        let mut databases = Databases::default();
        let mut closed = Ok(());
        let root = self.root();
        let uid = self.declared.as_ref().and_then(|declared| declared.uid);
        let max = self.config.background_max;
        let Round { outlet, container, told, memory, pace, opened, .. } = self;
        // Findings come while the walk goes on: both may pause.
        let own_pace = std::cell::RefCell::new(&mut **pace);
        let explain = Explain { host: self.host, container, root: root.as_ref(), uid, max };
        let tell = Tell { outlet, container, opened: *opened };
        let summary = scan.run(Some(memory), &mut || own_pace.borrow_mut().step(), &mut |finding| {
            databases.note(&finding);
            if closed.is_ok() {
                let explained = explain.file(&finding, &mut || own_pace.borrow_mut().step());
                closed = tell.file(told, &finding, explained);
            }
        });
        closed?;
        if self.outlet.is_stopped() {
            return Ok(());
        }
        if let Some(why) = gaps(&summary) {
            self.incomplete(Check::Files, &why)?;
        }
        if summary.cut.is_none() {
            self.databases = Some(databases);
        }
        self.gone(Check::Files, &|path| is_unsure(&summary, path))
    }

    /// The container's root, through one of its processes.
    fn root(&self) -> Option<RootDir> {
        self.container.live.as_ref()?.root(self.host, self.pids)
    }

    /// The manifest that the container's image was read from.
    fn listing(&self) -> Option<PathBuf> {
        let manifests = self.config.manifests.iter().filter(|_| self.container.from_manifest);
        let mut matching = manifests.filter(|m| m.containers.is_match(&*self.container.id));
        matching.next().map(|m| m.path.clone())
    }

    fn processes(&mut self) -> Result<(), Closed> {
        let mut closed = Ok(());
        let root = self.root();
        let max = self.config.background_max;
        let Round { outlet, container, told, pace, opened, .. } = self;
        let own_pace = std::cell::RefCell::new(&mut **pace);
        let explain = Explain { host: self.host, container, root: root.as_ref(), uid: None, max };
        let keep_going = || own_pace.borrow_mut().step();
        let tell = Tell { outlet, container, opened: *opened };
        let whole = processes::scan(self.host, self.container, self.pids, &mut { keep_going }, &mut |p| {
            if closed.is_ok() && p.is_drift() {
                let started = self.host.started_at(p.pid);
                let before_start = started.map(|at| at < tell.opened);
                let content = |(path, origin): (&[u8], Origin)| {
                    let path = ImagePath::from_archive(path).ok()?;
                    match origin {
                        _ if p.deleted => None,
                        Origin::Volume | Origin::Tmpfs => explain.volume(&path),
                        _ => explain.content(&path, &mut { keep_going }),
                    }
                };
                // What explains one thing explains no other.
                let explains = |(path, _): (&[u8], Origin), content: &Option<_>| {
                    content.is_some() || work_of(tell.container, path).is_some()
                };
                let mut drifted = p.drifted().map(|what| (what, content(what)));
                let Some(first) = drifted.next() else { return };
                let chosen = match explains(first.0, &first.1) {
                    true => drifted.find(|(what, content)| !explains(*what, content)).unwrap_or(first),
                    false => first,
                };
                let payload = Payload::of_process(&tell.container.id, &p, chosen.0);
                let work = work_of(tell.container, chosen.0 .0);
                let payload = Payload { before_start, work, ..payload }.explained(chosen.1);
                let mark = (p.origin, p.script.as_ref().map(|(_, origin)| *origin), p.deleted);
                closed = tell.finding(told, "program", payload, mark);
            }
        });
        closed?;
        match whole {
            true => self.gone(Check::Processes, &|_| false),
            false => Ok(()),
        }
    }

    fn packages(&mut self) -> Result<(), Closed> {
        // Where files are not compared, or not all of them, those of the system at least.
        let databases = self.databases.take().unwrap_or_else(Databases::of_systems);
        let found = packages::scan(self.host, self.container, databases, &mut || self.pace.step());
        let found = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(()),
            Err(why) => return self.incomplete(Check::Packages, &why),
        };
        for package in found.packages.iter().take(self.most()) {
            let payload = Payload::of_package(&self.container.id, package);
            self.finding("package", payload, (&package.old, &package.new))?;
        }
        self.finish(Check::Packages, found.packages.len(), found.gaps)
    }

    fn ports(&mut self) -> Result<(), Closed> {
        let declared = self.declared.clone();
        let known = Known { declared: declared.as_deref(), allowed: &self.config.allowed_ports };
        let keep_going = &mut || self.pace.step();
        let Some(mut found) = ports::scan(self.host, self.container, self.pids, known, false, keep_going)
        else {
            return Ok(());
        };
        if found.ports.iter().any(|p| p.declared.is_none()) {
            found.gaps.push("what the image declares is not known".to_owned());
        }
        let declared = declared.as_ref().and_then(|d| d.ports.as_deref()).unwrap_or_default();
        let mut things = HashSet::new();
        found.ports.retain(|port| port.is_drift() && things.insert(port.thing()));
        for port in found.ports.iter().take(self.most()) {
            let payload = Payload::of_port(&self.container.id, port, declared);
            self.finding("port", payload, (&port.path, &port.addresses))?;
        }
        self.finish(Check::Ports, found.ports.len(), found.gaps)
    }

    fn environment(&mut self) -> Result<(), Closed> {
        let declared = self.declared.clone();
        let Some(declared) = declared.as_ref().and_then(|d| d.environment.as_ref()) else {
            return self.incomplete(Check::Environment, "the declared environment is not known");
        };
        let keep_going = &mut || self.pace.step();
        let Some(found) = environment::scan(self.host, self.container, self.pids, declared, keep_going)
        else {
            return Ok(());
        };
        for program in found.iter().take(self.most()) {
            let payload = Payload::of_environment(&self.container.id, program);
            self.finding("program", payload, (&program.added, &program.changed, &program.risky))?;
        }
        self.finish(Check::Environment, found.len(), Vec::new())
    }

    fn image(&mut self) -> Result<(), Closed> {
        let Some(approved) = self.approved.clone() else { return Ok(()) };
        let facts = self.container.declaration.image.load_full().unwrap_or_default();
        let gaps = match approved.judge(&facts.identity) {
            Approval::Approved => Vec::new(),
            Approval::Unknown => vec!["the image's reference or digest is not known".to_owned()],
            approval @ (Approval::Unapproved | Approval::Unlisted) => {
                let payload = Payload::of_image(&self.container.id, approval, &facts.identity);
                let mark = (approval.as_str(), payload.actual.clone());
                self.finding("image", payload, mark)?;
                Vec::new()
            }
        };
        self.finish(Check::Image, 0, gaps)
    }

    fn rootfs(&mut self) -> Result<(), Closed> {
        let Some(live) = &self.container.live else { return Ok(()) };
        let mounts = live.refresh_mounts(self.host, &self.container.id);
        if mounts.root().is_some_and(|root| !root.read_only && !root.super_read_only) {
            let declared = self.declared.as_ref().and_then(|d| d.read_only_root);
            self.finding("rootfs", Payload::of_rootfs(&self.container.id, declared), declared)?;
        }
        self.finish(Check::Rootfs, 0, Vec::new())
    }

    /// Most findings of one check.
    fn most(&self) -> usize {
        usize::try_from(self.max_findings).unwrap_or(usize::MAX)
    }

    fn finding(&mut self, aspect: &'static str, payload: Payload, mark: impl Hash) -> Result<(), Closed> {
        let tell = Tell { outlet: self.outlet, container: self.container, opened: self.opened };
        tell.finding(self.told, aspect, payload, mark)
    }

    /// Ends a check that found so many, and could not look at some things.
    fn finish(&mut self, check: Check, found: usize, mut gaps: Vec<String>) -> Result<(), Closed> {
        if self.outlet.is_stopped() {
            return Ok(());
        }
        if found > self.most() {
            gaps.push(format!("more than {} findings", self.max_findings));
        }
        if gaps.is_empty() {
            return self.gone(check, &|_| false);
        }
        self.incomplete(check, &gaps.join("; "))
    }

    /// Tells that a check did not see everything.
    fn incomplete(&mut self, check: Check, why: &str) -> Result<(), Closed> {
        if !self.outlet.is_stopped() {
            self.metrics.source_incomplete.inc();
        }
        let payload = Payload::incomplete(&self.container.id, check, why);
        self.finding("incomplete", payload, why)
    }

    /// Tells what a check found before and not now. `unsure` tells of paths that were not looked at.
    fn gone(&mut self, check: Check, unsure: &dyn Fn(&str) -> bool) -> Result<(), Closed> {
        let declaration = &self.container.declaration;
        let (image, identity) = (declaration.reference(), declaration.identity());
        self.told.gone(check, unsure).into_iter().try_for_each(|gone| {
            let container_id = self.container.id.to_string();
            let payload = Payload { container_id, image: image.clone(), ..gone };
            self.outlet.send(&payload, identity.as_deref())
        })
    }
}

/// Looks for where content comes from that the image does not have at its path.
struct Explain<'a> {
    host: &'a Host,
    container: &'a Container,
    root: Option<&'a RootDir>,
    /// The user that the container was declared to run as.
    uid: Option<u32>,
    /// Largest file read, bytes.
    max: u64,
}

impl Explain<'_> {
    /// Of a file that differs: its content's source, as `drift.event.content` names it, and the image's file.
    fn file(
        &self,
        finding: &FileFinding,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Option<(&'static str, Option<ImagePath>)> {
        // Privileges are never explained by content.
        if !finding.gained.is_empty() || !matches!(finding.change, FileChange::Created | FileChange::Modified)
        {
            return None;
        }
        let (image, root) = (self.container.image.as_ref().ok()?, self.root?);
        if content::is_engines(image, root, &finding.path, self.uid, finding.covered) {
            return Some(("engine", None));
        }
        match finding.kind {
            FileType::RegularFile => self.content(&finding.path, keep_going),
            _ => None,
        }
    }

    /// Of what lies on a volume: the deployment's, or what the event of the program found out.
    fn volume(&self, path: &ImagePath) -> Option<(&'static str, Option<ImagePath>)> {
        let live = self.container.live.as_ref()?;
        let sight = live.find(self.host, &self.container.id, live.pid(), self.root?, path, false).ok()?;
        let Sight::File(found, _) = sight else { return None };
        let reported = Ledger::shared().on_volume(&self.container.id, path.as_bytes());
        let by_event = reported.is_some_and(|fact| fact.ctime == found.inode.ctime);
        (by_event || content::Reader::is_declared(self.host, live, path)).then_some(("declared", None))
    }

    fn content(
        &self,
        path: &ImagePath,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Option<(&'static str, Option<ImagePath>)> {
        let (image, root) = (self.container.image.as_ref().ok()?, self.root?);
        let found = root.find_here(path.as_bytes(), false).ok()?;
        image.layers().iter().for_each(|layer| content::build(layer, keep_going));
        let source = content::source_of(image, root, path, &found, self.max, keep_going)?;
        // A program under another name is what masquerading looks like.
        let known = if source.is_renamed(path) { "renamed" } else { source.as_str() };
        Some((known, Some(source.of().clone())))
    }
}

/// What is needed to tell a finding.
struct Tell<'a> {
    outlet: &'a Outlet,
    container: &'a Container,
    opened: u64,
}

impl Tell<'_> {
    /// Tells a finding that is new, or other than before by its mark.
    fn finding(
        &self,
        told: &mut Told,
        aspect: &'static str,
        mut payload: Payload,
        mark: impl Hash,
    ) -> Result<(), Closed> {
        let facts = self.container.declaration.image.load();
        payload.image = facts.as_ref().and_then(|facts| facts.identity.reference.clone());
        match told.note(aspect, &payload, mark) {
            true => self.outlet.send(&payload, self.container.declaration.identity().as_deref()),
            false => Ok(()),
        }
    }

    fn file(
        &self,
        told: &mut Told,
        finding: &FileFinding,
        content: Option<(&'static str, Option<ImagePath>)>,
    ) -> Result<(), Closed> {
        // A new directory holds nothing by itself; what is made in it is told.
        let empty = finding.change == FileChange::Created && finding.kind == FileType::Directory;
        if empty || !finding.change.is_drift() {
            return Ok(());
        }
        let image_path = finding.image_path.as_ref().unwrap_or(&finding.path);
        let image = self.container.image.as_ref().ok().filter(|_| finding.change != FileChange::Created);
        let package = image.and_then(|image| image.owner(image_path).ok().flatten());
        // The time of the last change is the kernel's own: nobody in the container can set it back.
        let before_start = finding.now.map(|now| now.inode.ctime < self.opened);
        let payload = Payload { before_start, ..Payload::of_file(&self.container.id, finding, package) };
        let ctime = finding.now.map_or(0, |now| now.inode.ctime);
        let reported = Ledger::shared().reported(&self.container.id, finding.path.as_bytes());
        let reported = reported.filter(|fact| fact.ctime == ctime);
        let payload = Payload {
            work: reported.as_ref().and_then(|fact| fact.work.as_deref().map(str::to_owned)),
            reported: reported.is_some(),
            ..payload.explained(content)
        };
        // A file that was added stays so, whatever is written to it next.
        let state = finding.now.filter(|_| finding.change != FileChange::Created);
        let state = state.map(|now| (now.inode.mtime, now.size, now.mode));
        let mark = (finding.change, &finding.gained, finding.content, state);
        self.finding(told, aspect(finding.change), payload, mark)
    }
}

/// The image's own work that made what a process runs, as the event of the file said: a build, or the shell of
/// the entry point by itself. What the entry point's other programs write at the start may come from anywhere.
fn work_of(container: &Container, path: &[u8]) -> Option<String> {
    let reported = Ledger::shared().reported(&container.id, path)?;
    let work = reported.work.as_deref()?;
    (work == "entrypoint" || work.starts_with("build:")).then(|| work.to_owned())
}

/// A path may have been renamed to, and hide what the image had there: two findings.
fn aspect(change: FileChange) -> &'static str {
    match change {
        FileChange::Renamed => "renamed",
        _ => "state",
    }
}

/// What a comparison did not reach, in words.
fn gaps(summary: &Summary) -> Option<String> {
    if summary.is_complete() {
        return None;
    }
    let mut words: Vec<String> = summary.cut.iter().cloned().collect();
    for (path, why) in summary.gaps.iter().take(3) {
        words.push(format!("{}: {why}", String::from_utf8_lossy(path.as_bytes())));
    }
    if summary.gap_count > 3 {
        words.push(format!("{} more", summary.gap_count - 3));
    }
    Some(words.join("; "))
}

/// Whether a comparison cannot say that nothing is at this path.
fn is_unsure(summary: &Summary, path: &str) -> bool {
    let all = summary.cut.is_some() || summary.gap_count > summary.gaps.len() as u64;
    all || summary.gaps.iter().any(|(gap, _)| {
        gap.as_bytes() == b"/"
            || path
                .as_bytes()
                .strip_prefix(gap.as_bytes())
                .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    })
}
