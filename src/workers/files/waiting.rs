//! Paths that wait to be looked at, the one that is due first in front.
//!
//! Invariants: one entry for each path of a container, at most [`MAX_WAITING`] in all, of which a container
//! has its share; a path's writer is whoever changed its content, not whoever touched it last.

use crate::facts::FileJob;
use crate::facts::{Evidence, Said};
use crate::workers::tally::Tally;
use crate::workers::worker::Refused;
use drift_core::host::RootDir;
use drift_core::verdict::change::Change;
use drift_formats::path_key::{path_key, value_key, PathKey};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most paths waiting.
pub(super) const MAX_WAITING: usize = 16_384;
/// How long a path is left alone before it is looked at: a file that is made under one name and renamed to
/// another is one change.
pub(super) const QUIET: Duration = Duration::from_millis(500);
/// Most processes remembered as writers of one path.
const MAX_WRITERS: usize = 8;

/// What tells one waiting path from another: keyed hashes of container and path, whether a link at its end is
/// followed.
pub(super) type Key = (u64, PathKey, bool);

fn key(job: &FileJob, follows: bool) -> Key {
    (value_key(job.container.id.as_bytes()), path_key(&job.path), follows)
}

/// A path, and what is known of it.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The latest job for it.
    pub(super) job: FileJob,
    /// Processes that may have it open.
    pub(super) writers: Vec<i64>,
    /// Held from the event on, so that a container that ends at once can still be looked at; given up while a
    /// writer has the file open, since then the container lives.
    pub(super) root: Option<Arc<RootDir>>,
    pub(super) due: Instant,
    /// Longest wait for a writer.
    pub(super) until: Instant,
    /// Next wait for a writer that cannot be watched.
    pub(super) back_off: Duration,
    /// A difference that was seen before the path was settled.
    pub(super) seen: Option<Seen>,
    /// How often it was looked at before it was settled.
    pub(super) glances: u8,
}

/// A difference from the image.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) change: Change,
    pub(super) gained: Vec<&'static str>,
    pub(super) kind: &'static str,
}

impl Waiting {
    /// Takes in another change of the path.
    fn add(&mut self, said: Said, job: &FileJob) {
        if takes_over(said, job, self.job.said, &self.job) {
            self.job.writer = Arc::clone(&job.writer);
            self.job.said.evidence = said.evidence;
        }
        let evidence = self.job.said.evidence;
        self.job.said = Said { evidence, ..self.job.said.and(said) };
    }
}

/// Whether a later call speaks for its process as the one who changed the path, and an earlier one's no more.
fn takes_over(said: Said, job: &FileJob, earlier: Said, before: &FileJob) -> bool {
    if said.evidence == Evidence::Nothing || (said.evidence == Evidence::Metadata && said.set_ids == 0) {
        return earlier.evidence == Evidence::Nothing && said.evidence > Evidence::Nothing;
    }
    // Of two, the one whose change alerts: what an exempt process did before or after excuses nobody else.
    match (job.writer.is_exempt(), before.writer.is_exempt()) {
        (false, true) => true,
        (true, false) => earlier.evidence < Evidence::Opened,
        // To open a file is not to change it: `touch` after `sed -i`.
        _ => said.evidence >= earlier.evidence || said.set_ids != 0,
    }
}

/// The list.
#[derive(Debug)]
pub(super) struct WaitList {
    /// Boxed: most of a table's places are empty.
    by_key: HashMap<Key, Box<Waiting>>,
    /// At least one entry for each key. A path that was put off since is found out when its old time comes.
    order: BinaryHeap<Reverse<(Instant, Key)>>,
    tally: Tally,
}

impl WaitList {
    /// An empty one, of which a container may have one part in `parts`.
    pub(super) fn new(parts: usize) -> Self {
        Self { by_key: HashMap::new(), order: BinaryHeap::new(), tally: Tally::new(MAX_WAITING, parts) }
    }

    /// The entry of a path.
    pub(super) fn entry(&mut self, job: &FileJob) -> Option<&mut Waiting> {
        self.by_key.get_mut(&key(job, job.follows)).map(|waiting| &mut **waiting)
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// When the first path may be due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.order.peek().map(|Reverse((at, _))| *at)
    }

    /// Whether a path waits already, by whatever call.
    pub(super) fn has(&self, job: &FileJob) -> bool {
        [false, true].iter().any(|follows| self.by_key.contains_key(&key(job, *follows)))
    }

    /// Takes a new change of a path that waits already into its entry; gives the job back if there is none.
    pub(super) fn merge(&mut self, job: FileJob, now: Instant) -> Result<(), FileJob> {
        if job.said.deleted && !job.follows {
            // Made by an open, which follows links, and removed by a call that does not: one path.
            if let Some(opened) = self.by_key.get_mut(&key(&job, true)) {
                opened.job.said.deleted = true;
            }
        }
        let key = key(&job, job.follows);
        let Some(known) = self.by_key.get_mut(&key) else { return Err(job) };
        // Put off, but not for ever: a file that is written again and again is looked at in between.
        let due = (now + QUIET).min(known.until);
        if due < known.due {
            // A writer that was waited for is done.
            self.order.push(Reverse((due, key)));
        }
        known.due = due;
        if !known.writers.contains(&job.writer.pid) && known.writers.len() < MAX_WRITERS {
            known.writers.push(job.writer.pid);
        }
        known.add(job.said, &job);
        if job.new_path.is_some() {
            known.job.new_path = job.new_path;
        }
        Ok(())
    }

    /// Notes that a file was renamed to a path that waits already: what is found there is the renamer's.
    pub(super) fn renamed_over(&mut self, job: &FileJob) {
        let Some(target) = &job.new_path else { return };
        let said = Said { evidence: Evidence::Changed, ..Said::default() };
        let target = FileJob { path: target.clone(), new_path: None, ..job.clone() };
        for follows in [false, true] {
            if let Some(known) = self.by_key.get_mut(&key(&target, follows)) {
                known.add(said, &target);
            }
        }
    }

    /// Adds a path.
    ///
    /// # Errors
    /// There is no room, and the path is given back.
    pub(super) fn add(&mut self, waiting: Waiting) -> Result<(), (Refused, Box<Waiting>)> {
        if self.by_key.len() >= MAX_WAITING {
            return Err((Refused::Full, Box::new(waiting)));
        }
        if !self.tally.take(&waiting.job.container.id) {
            return Err((Refused::Share, Box::new(waiting)));
        }
        let key = key(&waiting.job, waiting.job.follows);
        self.order.push(Reverse((waiting.due, key)));
        if let Some(old) = self.by_key.insert(key, Box::new(waiting)) {
            self.tally.give_back(&old.job.container.id);
        }
        Ok(())
    }

    /// Takes out the first path that is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Waiting> {
        loop {
            let Reverse((at, _)) = self.order.peek()?;
            if *at > now {
                return None;
            }
            let Reverse((_, key)) = self.order.pop()?;
            // Nothing waits under a key that was looked at by an earlier entry.
            let Some(due) = self.by_key.get(&key).map(|waiting| waiting.due) else { continue };
            if due <= now {
                let waiting = self.by_key.remove(&key).map(|waiting| *waiting);
                if let Some(waiting) = &waiting {
                    self.tally.give_back(&waiting.job.container.id);
                }
                return waiting;
            }
            self.order.push(Reverse((due, key)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{During, Writer};
    use crate::workers::files::tests::{container, job_of};
    use drift_core::command::manager::Manager;
    use drift_formats::entry::ImagePath;

    fn waiting(job: FileJob, due: Instant) -> Waiting {
        let until = due + Duration::from_secs(30);
        let writers = vec![job.writer.pid];
        Waiting { job, writers, root: None, due, until, back_off: QUIET, seen: None, glances: 0 }
    }

    fn call(path: &str, evidence: Evidence, command: &str, during: Option<During>) -> FileJob {
        let mut job = job_of(&container("a"), path);
        job.said.evidence = evidence;
        job.writer = Arc::new(Writer { command: command.into(), during, ..Writer::unknown() });
        job
    }

    /// Who is reported after these calls on one path.
    fn writer(calls: &[(Evidence, &str, Option<During>)]) -> String {
        let mut list = WaitList::new(1);
        let now = Instant::now();
        for (evidence, command, during) in calls {
            if let Err(job) = list.merge(call("/etc/x", *evidence, command, *during), now) {
                list.add(waiting(job, now)).unwrap();
            }
        }
        list.pop_due(now + QUIET).unwrap().job.writer.command.to_string()
    }

    #[test]
    fn a_change_is_put_down_to_who_changed_the_content() {
        use Evidence::{Changed, Metadata, Nothing, Opened};
        let dpkg = Some(During { manager: Manager::Dpkg, leader: 1 });
        for (calls, want) in [
            (vec![(Changed, "useradd", None), (Metadata, "chown", None)], "useradd"),
            (vec![(Changed, "sed", None), (Opened, "touch", None)], "sed"),
            (vec![(Opened, "touch", None), (Changed, "sed", None)], "sed"),
            (vec![(Opened, "a", None), (Opened, "b", None)], "b"),
            (vec![(Metadata, "chmod", None), (Opened, "sh", None)], "sh"),
            // F1b: the first writer's exemption covers nobody else, in whatever order.
            (vec![(Changed, "dpkg", dpkg), (Opened, "perl", None)], "perl"),
            (vec![(Opened, "perl", None), (Changed, "dpkg", dpkg)], "perl"),
            (vec![(Changed, "dpkg", dpkg), (Metadata, "chown", None)], "dpkg"),
            // A watch says that somebody wrote, not who.
            (vec![(Opened, "perl", None), (Nothing, "dpkg", dpkg)], "perl"),
            (vec![(Nothing, "unknown", None), (Opened, "perl", None)], "perl"),
            (vec![(Nothing, "unknown", None), (Metadata, "chmod", None)], "chmod"),
        ] {
            assert_eq!(writer(&calls), want, "{calls:?}");
        }
    }

    #[test]
    fn a_file_that_is_renamed_over_a_waiting_path_is_the_renamers() {
        let mut list = WaitList::new(1);
        let now = Instant::now();
        list.add(waiting(call("/etc/x", Evidence::Opened, "touch", None), now)).unwrap();
        let mut rename = call("/etc/sedX", Evidence::Changed, "sed -i", None);
        rename.new_path = Some(ImagePath::lexical(b"/", b"/etc/x").unwrap());
        list.renamed_over(&rename);
        assert_eq!(&*list.pop_due(now).unwrap().job.writer.command, "sed -i");
    }

    /// F3: what tools that clean up leave.
    #[test]
    fn what_was_made_and_removed_is_one_path() {
        let mut list = WaitList::new(1);
        let now = Instant::now();
        let mut made = call("/etc/x", Evidence::Changed, "mktemp", None);
        (made.follows, made.said.created) = (true, true);
        list.add(waiting(made, now)).unwrap();
        let mut removed = call("/etc/x", Evidence::Changed, "rm", None);
        (removed.follows, removed.said.deleted) = (false, true);
        assert!(list.merge(removed, now).is_err(), "what is there now is another question");
        let said = list.pop_due(now).unwrap().job.said;
        assert!(said.created && said.deleted);
    }

    #[test]
    fn a_container_has_its_share() {
        let mut list = WaitList::new(16);
        let now = Instant::now();
        let hostile = container("hostile");
        let fits = (0..2000).filter(|n| list.add(waiting(job_of(&hostile, &format!("/f{n}")), now)).is_ok());
        assert_eq!(fits.count(), MAX_WAITING / 16);
        assert!(list.add(waiting(job_of(&container("other"), "/etc/passwd"), now)).is_ok());
        while list.pop_due(now).unwrap().job.container.id != hostile.id {}
        assert!(list.add(waiting(job_of(&hostile, "/again"), now)).is_ok(), "what was looked at makes room");
    }
}
