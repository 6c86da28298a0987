//! Compares changed files with the image, once nobody writes to them any more.
//!
//! Each event only says that a path may have changed. The state decides, looked at after the last writer has
//! closed the file and it has been left alone for a moment. Where the path is sensitive or the image's it is
//! looked at at once as well, and while it is held open: what was changed and undone is reported as
//! `reverted`. Invariants: paths waiting and states remembered are bounded, of which each container has a
//! share; what does not fit is looked for in the container's layer, and what even that does not find in time
//! is counted and reported (`drift_lost`); the same state of a path is reported once.

mod directories;
mod sweeps;
mod told;
mod waiting;
mod writers;

use crate::config::Config;
use crate::events::FileReport;
use crate::facts::{Evidence, FileJob, FileNotice, Said, Tampering, Unnamed};
use crate::ledger::{Ledger, Reported};
use crate::metrics::Metrics;
use crate::workers::lost::Losses;
use crate::workers::worker::{Inbox, Refused};
use crate::workers::{overflowed_by, Overflowed, Pace};
use crossbeam_channel::RecvTimeoutError;
use directories::Directories;
use drift_core::content;
use drift_core::content::Explained;
use drift_core::host::{FoundFile, Host, RootDir};
use drift_core::image::view::{Image, Presence};
use drift_core::packages::owners::owner_now;
use drift_core::policy::sensitive::{is_alone, is_of_programs, is_scratch, is_sensitive};
use drift_core::scan::walk::{Item, Walk, MAX_DEPTH};
use drift_core::verdict::accounts::{self, AccountFile};
use drift_core::verdict::change::{
    compare, file_kind, is_images_file, locate, set_ids, Change, Compared, Incomparable, Located,
};
use drift_core::verdict::origin::Origin;
use drift_core::verdict::work::ImageWork;
use drift_formats::entry::ImagePath;
use rustix::fs::FileType;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use sweeps::Sweeps;
use told::{Told, Verdict};
use waiting::{Seen, WaitList, Waiting, MAX_WAITING, QUIET};
use writers::{OpenFiles, Watches, Wrote};

/// First and longest wait for a writer that cannot be watched.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// Most entries of a renamed directory that are looked at.
const MAX_RENAMED: usize = 100_000;
/// Longest wait while nothing is due. A stop closes the queue, which ends it.
const IDLE: Duration = Duration::from_secs(10);
/// As [`IDLE`], while files are watched.
const WATCHING: Duration = Duration::from_millis(200);

/// How long the event may take that says who wrote to a watched file.
const LATE: Duration = Duration::from_secs(2);
/// Most looks at a path before it is settled, or between two looks while it is held open.
const MAX_GLANCES: u8 = 8;
/// Most paths of one sweep that are looked at at once because there is no room for them to wait.
const MAX_AT_ONCE: usize = 4096;
/// How far a file's time may be behind that of a process: the kernel's clocks have ticks of some
/// milliseconds.
const CLOCKS: u64 = 50_000_000;

/// How much longer paths wait that were found by looking for them: what is told by name comes first.
const SWEPT: Duration = Duration::from_millis(300);

/// Pause after events were taken in, for as long as more come: those of a burst are taken in together, and
/// the event thread, which has no time for it, wakes this one up once for all of them.
const BATCH: Duration = Duration::from_millis(50);

/// What came of a path.
enum Outcome {
    Done,
    /// To be looked at again then.
    Later(Instant),
}

/// The thread's state.
#[derive(Debug)]
pub struct Files {
    config: Arc<Config>,
    host: Host,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
    waiting: WaitList,
    sweeps: Sweeps,
    watches: Watches,
    /// Roots that waiting paths hold, one descriptor for each container.
    roots: HashMap<Box<str>, Weak<RootDir>>,
    told: Told,
    directories: Directories,
    losses: Losses,
    overflowed: Overflowed,
}

impl Files {
    /// A worker that works until `stop`.
    pub(crate) fn new(
        host: Host,
        config: Arc<Config>,
        metrics: Arc<Metrics>,
        stop: Arc<AtomicBool>,
        losses: Losses,
        overflowed: Overflowed,
    ) -> Self {
        Self {
            host,
            told: Told::new(config.file_interval, config.file_repeat),
            directories: Directories::default(),
            losses,
            overflowed,
            waiting: WaitList::new(config.container_parts),
            config,
            metrics,
            stop,
            sweeps: Sweeps::default(),
            watches: Watches::new(),
            roots: HashMap::new(),
        }
    }

    /// Works until the queue closes; each verified change goes to `report`, and each change of a mounted
    /// secret to `tampered`.
    pub fn run(
        mut self,
        notices: &Inbox<FileNotice>,
        report: &dyn Fn(&FileReport),
        tampered: &dyn Fn(&Tampering),
    ) {
        let mut is_busy = false;
        while !self.stop.load(Ordering::Relaxed) {
            if !is_busy {
                let longest = if self.watches.is_empty() { IDLE } else { WATCHING };
                let due = [self.waiting.next_due(), self.sweeps.next_due(), self.directories.next_due()];
                let next = due.into_iter().flatten().min();
                let wait =
                    next.map_or(longest, |due| due.saturating_duration_since(Instant::now()).min(longest));
                match notices.recv_timeout(wait) {
                    Ok(notice) => {
                        self.take(notice, tampered);
                        is_busy = true;
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            if is_busy {
                // Whatever else comes meanwhile, before anything is looked at.
                std::thread::sleep(BATCH);
                let taken =
                    notices.try_iter().take(MAX_WAITING).map(|notice| self.take(notice, tampered)).count();
                is_busy = taken > 0;
            }
            for (job, wrote) in self.watches.read() {
                self.accept_watched(job, wrote);
            }
            self.take_overflowed();
            self.sweep_due(report);
            self.look_at_due(report);
            self.directories.sum_up(Instant::now()).iter().for_each(report);
            self.metrics.files_waiting.set(self.waiting.len() as u64);
        }
    }

    fn take(&mut self, notice: FileNotice, tampered: &dyn Fn(&Tampering)) {
        match notice {
            FileNotice::Secret(tampering) => tampered(&tampering),
            FileNotice::Path(job) => self.accept(job),
            FileNotice::Unnamed(change) => {
                if !self.sweeps.add(change, Instant::now()) {
                    self.metrics.files_dropped.inc();
                }
            }
        }
    }

    /// Has the layers looked through of containers that changed more than there was room for.
    fn take_overflowed(&mut self) {
        let Ok(mut overflowed) = self.overflowed.lock() else { return };
        for (_, change) in overflowed.drain() {
            if !self.sweeps.add(change, Instant::now()) {
                self.metrics.files_dropped.inc();
            }
        }
    }

    fn sweep_due(&mut self, report: &dyn Fn(&FileReport)) {
        let Some((jobs, complete)) = self.sweeps.run_one(Instant::now()) else { return };
        if !complete {
            self.metrics.files_unknown.inc();
        }
        let mut open = OpenFiles::default();
        let mut at_once = 0;
        // Calls that say their path know more: who did it, and what a renamed file was called.
        for job in jobs {
            if self.waiting.has(&job) {
                continue;
            }
            let Err((_, mut waiting)) = self.add(job, QUIET + SWEPT) else { continue };
            // No room to wait: as it is now.
            if at_once >= MAX_AT_ONCE {
                self.metrics.files_dropped.inc();
                self.losses.note(&waiting.job.container, "files");
                continue;
            }
            at_once += 1;
            waiting.until = Instant::now();
            if self.look(&mut waiting, &mut open, report).is_err() {
                self.metrics.files_unknown.inc();
            }
        }
    }

    /// Takes in what is in a directory that was renamed: what was made there has another path now. Sensitive
    /// names first: decoys may be many.
    fn accept_below(&mut self, job: FileJob, path: &ImagePath, dir: &FoundFile) {
        let Ok(walk) = Walk::new(&dir.fd, None, MAX_DEPTH) else { return };
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        for (seen, item) in walk.enumerate() {
            if seen >= MAX_RENAMED {
                self.metrics.files_dropped.inc();
                self.losses.note(&job.container, "files");
                break;
            }
            let Item::File(below, _) = item else { continue };
            let whole = [path.as_bytes(), below.as_bytes()].concat();
            let Ok(whole) = ImagePath::from_archive(&whole) else { continue };
            if is_alone(&whole) { &mut first } else { &mut rest }.push(whole);
        }
        let said = Said { evidence: Evidence::Changed, ..Said::default() };
        for whole in first.into_iter().chain(rest) {
            self.accept(FileJob { path: whole, new_path: None, follows: false, said, ..job.clone() });
        }
    }

    fn accept(&mut self, job: FileJob) {
        self.accept_after(job, QUIET);
    }

    /// Takes in what a watch saw.
    fn accept_watched(&mut self, job: FileJob, wrote: Wrote) {
        let is_waiting = self.waiting.entry(&job).is_some();
        match wrote {
            Wrote::Modified if is_waiting => self.glance(&job),
            // The event that says who did it may be late.
            _ if job.writer.pid == 0 && !is_waiting => self.accept_after(job, LATE),
            _ => self.accept(job),
        }
    }

    fn accept_after(&mut self, job: FileJob, wait: Duration) {
        self.waiting.renamed_over(&job);
        let looked_at = job.clone();
        if let Err(job) = self.waiting.merge(job, Instant::now()) {
            if let Err((refused, waiting)) = self.add(job, wait) {
                self.metrics.files_dropped.inc();
                refused.count(&self.metrics);
                let FileJob { container, writer, .. } = waiting.job;
                overflowed_by(&self.overflowed, container, writer);
                return;
            }
        }
        self.glance(&looked_at);
    }

    fn add(&mut self, job: FileJob, wait: Duration) -> Result<(), (Refused, Box<Waiting>)> {
        let now = Instant::now();
        let root = self.shared_root(&job);
        let until = now + self.config.file_interval;
        let writers = vec![job.writer.pid];
        let (due, back_off) = (now + wait, BACK_OFF.0);
        self.waiting.add(Waiting { job, writers, root, due, until, back_off, seen: None, glances: 0 })
    }

    /// Looks at a path that has just changed, if that is worth it: it may be as before when it is settled.
    fn glance(&mut self, job: &FileJob) {
        let Some(waiting) = self.waiting.entry(job).filter(|waiting| waiting.glances < MAX_GLANCES) else {
            return;
        };
        // Of a renamed file the old name is looked at.
        let Ok(image) = &job.container.image else { return };
        if !is_hasty(image, &job.path) {
            return;
        }
        waiting.glances += 1;
        let fresh = root_of(&self.host, job);
        let Some(root) = fresh.as_ref().or(waiting.root.as_deref()) else { return };
        let Ok(located) = locate(root, &job.path, job.follows) else { return };
        let stop = &self.stop;
        let compared = compare(image, located, self.config.inline_max, &mut || !stop.load(Ordering::Relaxed));
        let Ok(compared) = compared.map(|compared| (compared.change, compared)) else { return };
        if let (Change::Created | Change::Modified | Change::Deleted | Change::Metadata, compared) = compared
        {
            // Cut, and not written yet: how most programs write.
            let is_cut = compared.now.as_ref().is_some_and(|now| now.size == 0)
                && job.said.evidence <= Evidence::Opened
                && compared
                    .now
                    .as_ref()
                    .is_some_and(|now| OpenFiles::default().has_writer(&self.host, &[job.writer.pid], now));
            if !is_cut {
                let kind = file_kind(&job.path, compared.now.as_ref());
                waiting.seen = Some(Seen { change: compared.change, gained: compared.gained, kind });
            }
        }
    }

    /// Asked between pieces of a file: sleeps, so that large files do not take more than their share of a CPU.
    fn keep_going(&self) -> impl FnMut() -> bool {
        let mut pace = Pace::new(self.config.cpu_percent, Arc::clone(&self.stop));
        move || pace.step()
    }

    fn shared_root(&mut self, job: &FileJob) -> Option<Arc<RootDir>> {
        if let Some(root) = self.roots.get(&job.container.id).and_then(Weak::upgrade) {
            return Some(root);
        }
        self.roots.retain(|_, root| root.strong_count() > 0);
        let root = Arc::new(root_of(&self.host, job)?);
        self.roots.insert(job.container.id.clone(), Arc::downgrade(&root));
        Some(root)
    }

    fn look_at_due(&mut self, report: &dyn Fn(&FileReport)) {
        let now = Instant::now();
        let mut open = OpenFiles::default();
        while let Some(mut waiting) = self.waiting.pop_due(now) {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            match self.look(&mut waiting, &mut open, report) {
                Ok(Outcome::Done) | Err(Incomparable::OtherMount | Incomparable::Stopped) => {}
                Ok(Outcome::Later(at)) => {
                    waiting.due = at;
                    waiting.until = waiting.until.max(at);
                    waiting.root = None;
                    waiting.glances = 0;
                    if let Err((refused, waiting)) = self.waiting.add(waiting) {
                        self.metrics.files_dropped.inc();
                        refused.count(&self.metrics);
                        self.losses.note(&waiting.job.container, "files");
                    }
                }
                Err(Incomparable::Unreadable) => self.metrics.files_unknown.inc(),
            }
        }
    }

    fn look(
        &mut self,
        waiting: &mut Waiting,
        open: &mut OpenFiles,
        report: &dyn Fn(&FileReport),
    ) -> Result<Outcome, Incomparable> {
        let fresh = root_of(&self.host, &waiting.job);
        let root = fresh.as_ref().or(waiting.root.as_deref()).ok_or(Incomparable::Unreadable)?;
        let job = &waiting.job;
        let located = locate(root, &job.path, job.follows)?;
        let now = Instant::now();
        let mut again = None;
        if let Some(found) = located.now.as_ref().filter(|found| found.kind == FileType::RegularFile) {
            if found.links > 1 && job.said.evidence == Evidence::Opened {
                // Another name of it has other content now, too.
                let (container, writer) = (Arc::clone(&job.container), Arc::clone(&job.writer));
                self.sweeps.add(Unnamed { container, at: found.inode.ctime, writer }, now);
            }
            // Watched from before it is looked at, so that a later write is not missed, whoever writes: a
            // process that inherited the descriptor, one that has the file mapped.
            let hasty = job.container.image.as_ref().is_ok_and(|image| is_hasty(image, &located.path));
            let held = open.has_writer(&self.host, &waiting.writers, found);
            let watched = self.watches.add(found, job, held, hasty);
            // Again and again where it counts: what is written through a mapping nobody tells.
            again = (held && hasty).then(|| now + self.config.file_interval);
            if now < waiting.until && held {
                if watched {
                    return Ok(Outcome::Later(waiting.until));
                }
                let wait = waiting.back_off;
                waiting.back_off = (wait * 2).min(BACK_OFF.1);
                return Ok(Outcome::Later((now + wait).min(waiting.until)));
            }
        }
        let seen = waiting.seen.as_ref();
        let Some(new_path) = &job.new_path else {
            let outcome = self.tell(job, located, seen, report)?;
            return Ok(match (outcome, again) {
                (Outcome::Done, Some(again)) => Outcome::Later(again),
                (outcome, _) => outcome,
            });
        };
        let target = locate(root, new_path, false);
        if let (None, Ok(Located { path: new, now: Some(found) })) = (&located.now, &target) {
            let image = job.container.image.as_ref().map_err(|_| Incomparable::Unreadable)?;
            let mut keep_going = self.keep_going();
            let max = self.config.background_max;
            if is_images_file(image, &located.path, found, max, &mut keep_going)? {
                let renamed = Compared { change: Change::Renamed, now: None, gained: Vec::new() };
                let in_image = matches!(image.lookup(new), Presence::Present { .. });
                let new = new.clone();
                if !in_image {
                    // The new name is told by this event already.
                    self.told.note_created(&job.container.id, &new, found, now);
                }
                let outcome = self.tell_compared(job, &located.path, Some(new), renamed, None, report);
                return match (in_image, target) {
                    // What the new name held before is gone.
                    (true, Ok(target)) => {
                        let renamed = FileJob { said: Said::default(), ..job.clone() };
                        self.tell(&renamed, target, None, report)
                    }
                    _ => Ok(outcome),
                };
            }
        }
        if let Ok(Located { path, now: Some(found) }) = &target {
            if found.kind == FileType::Directory {
                self.accept_below(job.clone(), path, found);
            }
        }
        // Not the image's file: two paths, each with its own state.
        let old = self.tell(job, located, seen, report);
        // What was said is said of the old name.
        let renamed = FileJob { said: Said::default(), ..job.clone() };
        let new = target.and_then(|target| self.tell(&renamed, target, None, report));
        match (old, new) {
            (Ok(Outcome::Later(at)), _) | (_, Ok(Outcome::Later(at))) => Ok(Outcome::Later(at)),
            (Err(why), _) | (_, Err(why)) => Err(why),
            _ => Ok(Outcome::Done),
        }
    }

    /// Reports what became of one path, unless that was reported or nothing did.
    fn tell(
        &mut self,
        job: &FileJob,
        located: Located,
        seen: Option<&Seen>,
        report: &dyn Fn(&FileReport),
    ) -> Result<Outcome, Incomparable> {
        let image = job.container.image.as_ref().map_err(|_| Incomparable::Unreadable)?;
        let path = located.path.clone();
        if located.now.as_ref().is_some_and(|now| self.is_engines(job, now)) {
            return Ok(Outcome::Done);
        }
        let new_directory = located.now.as_ref().is_some_and(|now| now.kind == FileType::Directory)
            && is_of_programs(&path)
            && job.said.created
            && matches!(image.lookup(&path), Presence::Absent);
        let mut keep_going = self.keep_going();
        let mut compared = compare(image, located, self.config.background_max, &mut keep_going)?;
        if new_directory {
            compared.change = Change::Created;
        }
        if compared.change != Change::None {
            return Ok(self.tell_compared(job, &path, None, compared, None, report));
        }
        // That it is as the image has it again counts first: another change may be reported after that.
        self.told.judge(&job.container.id, &path, &compared, Instant::now());
        let Some(was) = undone(image, job, &path, compared.now.as_ref(), seen) else {
            return Ok(Outcome::Done);
        };
        let gained = match (&was, was.gained.is_empty()) {
            (Seen { change: Change::Metadata | Change::Created, .. }, true) => {
                set_ids(job.said.set_ids | 0o010).collect()
            }
            _ => was.gained.clone(),
        };
        let compared = Compared { change: Change::Reverted, now: None, gained };
        Ok(self.tell_compared(job, &path, None, compared, Some(&was), report))
    }

    /// Whether the engine made it before the container's first process ran.
    fn is_engines(&self, job: &FileJob, now: &FoundFile) -> bool {
        let Some(live) = &job.container.live else { return false };
        let before = live.started.is_some_and(|started| now.inode.ctime.saturating_add(CLOCKS) < started);
        before && self.host.own_pid_of(live.pid()) == Some(1)
    }

    /// Where the content of a new or changed file comes from that the image does not have at its path.
    fn explain(&self, job: &FileJob, path: &ImagePath, compared: &Compared) -> Option<Explained> {
        let found = compared.now.as_ref()?;
        // Privileges are never explained by content.
        if !compared.gained.is_empty() || !matches!(compared.change, Change::Created | Change::Modified) {
            return None;
        }
        let image = job.container.image.as_ref().ok()?;
        let root = root_of(&self.host, job)?;
        let uid = job.container.declaration.read().as_ref().and_then(|declared| declared.uid);
        if content::is_engines(image, &root, path, uid, false) {
            return Some(Explained { kind: "engine", of: None });
        }
        if found.kind != FileType::RegularFile {
            return None;
        }
        let mut keep_going = self.keep_going();
        image.layers().iter().for_each(|layer| content::build(layer, &mut keep_going));
        let source =
            content::source_of(image, &root, path, found, self.config.background_max, &mut keep_going)?;
        Some(Explained::of(source, path))
    }

    fn tell_compared(
        &mut self,
        job: &FileJob,
        path: &ImagePath,
        new_path: Option<ImagePath>,
        compared: Compared,
        was: Option<&Seen>,
        report: &dyn Fn(&FileReport),
    ) -> Outcome {
        let excused = match self.told.judge(&job.container.id, path, &compared, Instant::now()) {
            Verdict::New => None,
            Verdict::Known => return Outcome::Done,
            Verdict::Unchanged => {
                if let Some(now) = &compared.now {
                    Ledger::shared().touch(&job.container.id, path.as_bytes(), now.inode.ctime);
                }
                return Outcome::Done;
            }
            Verdict::TooSoon(again) => return Outcome::Later(again),
            Verdict::Excused(by) => Some(by),
        };
        let stop = Arc::clone(&self.stop);
        let mut keep_going = || !stop.load(Ordering::Relaxed);
        let package = job.container.image.as_ref().ok().and_then(|i| owner_now(i, path, &mut keep_going));
        let kind = file_kind(path, compared.now.as_ref());
        let accounts = |work, file| {
            // As in the image again, after useradd or the like.
            if compared.change == Change::Reverted {
                return work == ImageWork::Accounts;
            }
            let (Ok(image), Some(now)) = (&job.container.image, &compared.now) else { return false };
            accounts::explains(image, path, now, file, work == ImageWork::Accounts)
        };
        let work = job.writer.work.filter(|work| match (work, AccountFile::of(path)) {
            (ImageWork::Build(_), _) => kind.starts_with("elf"),
            (work, Some(file)) => accounts(*work, file),
            _ => true,
        });
        let is_step = job.writer.is_entry_shell && kind == "script" && compared.change == Change::Created;
        let work = work.or(is_step.then_some(ImageWork::Entrypoint));
        let looked_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let looked_at = u64::try_from(looked_at.as_nanos()).unwrap_or(0);
        let inode = compared.now.as_ref().map(|now| now.inode.ino);
        let ctime = compared.now.as_ref().map_or(0, |now| now.inode.ctime);
        let told = work.map(|work| work.to_string().into());
        let explained = self.explain(job, path, &compared);
        let excuse =
            told::excuse(explained.as_ref(), work, job.writer.during.map(|during| during.manager), kind);
        self.told.note_excuse(&job.container.id, path, &compared, excuse);
        if excused == Some(excuse) {
            return Outcome::Done;
        }
        Ledger::shared().note(&job.container.id, path.as_bytes(), Reported { ctime, work: told });
        let drifts = job.container.drifts.fetch_add(1, Ordering::Relaxed) + 1;
        let kind = match (&compared.now, was) {
            (Some(now), _) if now.kind == FileType::Directory => "directory",
            (None, Some(was)) => was.kind,
            (now, _) => file_kind(path, now.as_ref()),
        };
        let found = FileReport {
            container: Arc::clone(&job.container),
            image: job.container.declaration.reference(),
            path: path.clone(),
            new_path,
            change: compared.change,
            origin: origin(compared.change),
            kind,
            explained,
            package,
            gained: compared.gained,
            was: was.map(|was| was.change),
            count: None,
            sensitive: is_sensitive(path),
            writer: Arc::clone(&job.writer),
            work,
            inode,
            looked_at,
            proved: false,
            drifts,
        };
        match self.directories.take(found, Instant::now()) {
            Some(found) => report(&found),
            // It is one of those that the sum will count.
            None => Ledger::shared().confirm(&job.container.id, path.as_bytes()),
        }
        self.metrics.files_changed.inc();
        Outcome::Done
    }
}

/// Whether a path is looked at as soon as it changes: what programs run or obey, and the image's files.
fn is_hasty(image: &Image, path: &ImagePath) -> bool {
    is_sensitive(path) || matches!(image.lookup(path), Presence::Present { .. })
}

/// What was undone, of a path that is as the image has it again.
fn undone(
    image: &Image,
    job: &FileJob,
    path: &ImagePath,
    now: Option<&FoundFile>,
    seen: Option<&Seen>,
) -> Option<Seen> {
    let said = job.said;
    let in_image = matches!(image.lookup(path), Presence::Present { .. });
    let kind = || file_kind(path, now);
    let of = |change| Some(Seen { change, gained: Vec::new(), kind: kind() });
    if is_scratch(path) && said.set_ids == 0 && !in_image {
        return None;
    }
    let has_set_ids = now.is_some_and(|now| now.mode & said.set_ids == said.set_ids);
    match (seen, now) {
        // Of one that was made and renamed the new name is reported.
        _ if said.moved && !in_image => None,
        // Gone without having been removed: renamed, as editors and `sed -i` do with what they write first.
        (Some(_), None) if !in_image && !said.deleted => None,
        (Some(seen), _) => Some(seen.clone()),
        _ if said.set_ids != 0 && !has_set_ids => of(Change::Metadata),
        (None, None) if !in_image && said.created && said.deleted => of(Change::Created),
        (None, Some(now)) if in_image && now.kind == FileType::RegularFile => {
            match (said.moved, said.deleted) {
                (true, _) => of(Change::Renamed),
                (false, true) => of(Change::Deleted),
                (false, false) => None,
            }
        }
        _ => None,
    }
}

/// What the file is, by its change.
fn origin(change: Change) -> Origin {
    match change {
        Change::Created => Origin::Added,
        Change::Modified => Origin::ImageModified,
        Change::Metadata => Origin::ImageTouched,
        Change::None | Change::Deleted | Change::Renamed | Change::Reverted => Origin::Image,
    }
}

/// The container's root, through the writer while it lives.
fn root_of(host: &Host, job: &FileJob) -> Option<RootDir> {
    let live = job.container.live.as_ref()?;
    let members = [job.writer.pid].into_iter().filter(|pid| is_at_namespace_root(host, *pid));
    live.root(host, &members.collect::<Vec<_>>())
}

/// Whether a process sees its mount namespace's root: paths of jobs begin there, also those of a process in a
/// chroot.
fn is_at_namespace_root(host: &Host, pid: i64) -> bool {
    host.root_path_of(pid).is_some_and(|root| root == b"/")
}

/// The tables, and their bytes when they are full.
#[cfg(test)]
pub(super) fn tables() -> [(&'static str, usize); 4] {
    [
        ("reported changes", told::bytes_when_full()),
        ("changed paths waiting for comparison", waiting::bytes_when_full()),
        ("files watched for their last close", writers::bytes_when_full()),
        ("directories that fill", directories::bytes_when_full()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Writer;
    use drift_core::container::registry::Container;

    /// A container that nobody has looked at.
    pub(super) fn container(id: &str) -> Arc<Container> {
        Arc::new(Container {
            id: id.into(),
            live: None,
            image: Err("not looked at".into()),
            from_manifest: false,
            drifts: Arc::default(),
            installed: Default::default(),
            declaration: Arc::default(),
        })
    }

    /// An open of a path by nobody in particular.
    pub(super) fn job_of(container: &Arc<Container>, path: &str) -> FileJob {
        FileJob {
            container: Arc::clone(container),
            path: ImagePath::lexical(b"/", path.as_bytes()).unwrap(),
            new_path: None,
            follows: false,
            said: Said { evidence: Evidence::Opened, ..Said::default() },
            writer: Arc::new(Writer::unknown()),
        }
    }
}
