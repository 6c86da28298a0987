//! Processes: which container one is in, what it runs, and who wrote that. What is above asks all of it at
//! once.

use super::bound;
use super::content::Contents;
use super::context::{Context, Dependencies};
use super::pipes::{Pipes, Piping};
use super::programs::Programs;
use super::provenance::Writers;
use super::scripts::Scripts;
use super::threads::{ThreadState, Threads};
use super::work::Starts;
use crate::event::threads::Thread;
use crate::facts::{Provenance, Written};
use drift_core::container::registry::{Container, LoadedManifest};
use drift_core::verdict::binary::Binary;
use drift_core::verdict::origin::Origin;
use drift_core::verdict::script::Script;
use std::sync::Arc;

/// Processes.
#[derive(Debug)]
pub(super) struct Processes {
    pub(super) threads: Threads,
    pub(super) programs: Programs,
    pub(super) scripts: Scripts,
    pipes: Pipes,
    pub(super) writers: Writers,
    pub(super) starts: Starts,
    pub(super) contents: Contents,
}

impl Processes {
    pub(super) fn new(deps: &Dependencies, manifests: Vec<LoadedManifest>) -> Self {
        Self {
            threads: Threads::new(deps, manifests),
            programs: Programs::new(deps),
            scripts: Scripts::new(deps.config.container_parts),
            pipes: Pipes::new(),
            writers: Writers::new(deps.config.container_parts),
            starts: Starts::new(bound(deps.config.cache.max_containers)),
            contents: Contents::new(deps.config.container_parts),
        }
    }

    /// Forgets up to `most` entries of each table of a container; how many those were.
    pub(super) fn forget(&mut self, container: &str, most: usize) -> usize {
        self.threads.containers.forget(container, most)
            + self.programs.forget(container, most)
            + self.scripts.forget(container, most)
            + self.writers.forget(container, most)
            + self.contents.forget(container, most)
    }

    /// The verdict on the executable of the event's process; `None` on the host.
    pub(super) fn binary(&mut self, cx: &Context<'_>) -> Option<Arc<Binary>> {
        self.programs.of_event(cx, &mut self.threads, &self.writers)
    }

    /// The script that the event's process was started on; `None` when it runs none, or on the host.
    ///
    /// Of several files of code that drifted, the first that nothing excuses: content of the image, or a
    /// package that accounts for it.
    pub(super) fn script(&mut self, cx: &Context<'_>) -> Option<Arc<Script>> {
        self.script_state(cx)?.script.clone()?
    }

    /// The state of the event's thread, whose script is known; `None` on the host.
    pub(super) fn script_state(&mut self, cx: &Context<'_>) -> Option<&ThreadState> {
        self.scripts.state(cx, &mut self.threads)?;
        let others = self.scripts.take_others(cx);
        if !others.is_empty() {
            self.choose_script(cx, others);
            self.threads.of_event(cx)?;
        }
        self.threads.last()
    }

    fn choose_script(&mut self, cx: &Context<'_>, others: Vec<Script>) -> Option<()> {
        let script = self.scripts.of_event(cx, &mut self.threads)?;
        if !self.is_excused(cx, &script) {
            return None;
        }
        let worst = others.into_iter().find(|other| !self.is_excused(cx, other))?;
        self.scripts.choose(cx, &mut self.threads, worst)
    }

    fn is_excused(&mut self, cx: &Context<'_>, script: &Script) -> bool {
        let Some(container) = self.threads.container(cx) else { return false };
        let inode = self.script_inode(&container.id, script);
        let (provenance, written) = self.writers.provenance(&container.id, &script.judgement, inode);
        let is_quieter = |written: &Written| written.entry_shell.is_some() || written.work.is_some();
        matches!(provenance, Provenance::Package(_))
            || written.is_some_and(is_quieter)
            || self
                .contents
                .look(cx, &mut self.threads, &script.judgement, &self.writers)
                .is_some_and(|content| content.kind != "renamed")
    }

    /// What the event's process does at a pipe that an interpreter reads its program from.
    pub(super) fn piping(&mut self, cx: &Context<'_>) -> Option<Arc<Piping>> {
        self.pipes.of_event(cx, &mut self.threads, &mut self.scripts)
    }

    /// Where the executable of the event's process comes from: [`Origin::Host`] on the host.
    pub(super) fn origin(&mut self, cx: &Context<'_>) -> Option<Origin> {
        match self.threads.is_host(cx) {
            true => Some(Origin::Host),
            false => self.binary(cx).map(|b| b.judgement.origin),
        }
    }

    /// The container of the event's thread, and where its program comes from, as far as it is known.
    pub(super) fn container_and_origin(
        &mut self,
        cx: &Context<'_>,
    ) -> Option<(Arc<Container>, Option<Origin>)> {
        let state = self.threads.of_event(cx)?;
        let container = state.container.clone()?;
        if let Some(binary) = state.binary.as_ref().filter(|_| self.programs.is_latest(state)) {
            return Some((container, Some(binary.judgement.origin)));
        }
        Some((container, self.binary(cx).map(|b| b.judgement.origin)))
    }

    /// The program and the script of any thread of a container.
    pub(super) fn of_thread(
        &mut self,
        cx: &Context<'_>,
        thread: (i64, &Thread),
        container: &Arc<Container>,
    ) -> (Arc<Binary>, Option<Arc<Script>>) {
        let script = self.scripts.of_thread(cx, thread, container, &mut self.threads);
        let binary = self.programs.of_thread(cx, thread, container, &mut self.threads, &self.writers);
        (binary, script)
    }

    /// Whether the event's process runs a program, and a script, that the image shipped, or that a package
    /// manager of the image installed: anything else can take any name.
    pub(super) fn is_trusted(&mut self, cx: &Context<'_>) -> bool {
        let Some(container) = self.threads.container(cx) else { return false };
        let Some(binary) = self.binary(cx) else { return false };
        let script = self.script(cx);
        self.is_vouched_for(&container.id, &binary, script.as_deref(), |w| w.during.is_some())
    }

    /// As [`Self::is_trusted`], of any thread of a container; not of one that has ended.
    pub(super) fn is_trusted_thread(
        &mut self,
        cx: &Context<'_>,
        tid: i64,
        container: &Arc<Container>,
    ) -> bool {
        let Some(thread) = self.threads.member(cx, tid, container) else { return false };
        let (binary, script) = self.of_thread(cx, (tid, &thread), container);
        self.is_vouched_for(&container.id, &binary, script.as_deref(), |w| w.during.is_some())
    }

    /// Whether a program and its script are the image's, or were written by a process that is `fine`.
    pub(super) fn is_vouched_for(
        &self,
        container: &str,
        binary: &Binary,
        script: Option<&Script>,
        fine: impl Fn(&Written) -> bool,
    ) -> bool {
        let is_fine = |origin: Origin, inode: u64| match origin {
            Origin::Image | Origin::ImageTouched => true,
            Origin::Added | Origin::AddedOrModified | Origin::ImageModified | Origin::ImageUnverified => {
                inode != 0 && self.writers.of(container, inode).is_some_and(&fine)
            }
            _ => false,
        };
        is_fine(binary.judgement.origin, binary.inode.ino)
            && script.is_none_or(|s| is_fine(s.judgement.origin, self.script_inode(container, s)))
    }

    /// The inode number of a script, also of one that was removed right after it was run.
    fn script_inode(&self, container: &str, script: &Script) -> u64 {
        match script.ino {
            0 => self.writers.inode_at(container, &script.path),
            ino => ino,
        }
    }

    /// Where the executable of the event's process comes from, and who wrote it last; `None` on the host.
    pub(super) fn binary_provenance(&mut self, cx: &Context<'_>) -> Option<(Provenance, Option<&Written>)> {
        let container = self.threads.container(cx)?;
        let binary = self.binary(cx)?;
        Some(self.writers.provenance(&container.id, &binary.judgement, binary.inode.ino))
    }

    /// As [`Self::binary_provenance`], of the script that the process was started on.
    pub(super) fn script_provenance(&mut self, cx: &Context<'_>) -> Option<(Provenance, Option<&Written>)> {
        let container = self.threads.container(cx)?;
        let script = self.script(cx)?;
        let inode = self.script_inode(&container.id, &script);
        Some(self.writers.provenance(&container.id, &script.judgement, inode))
    }
}
