//! Who is behind a change of packages, for the background that tells it: command lines and ancestors are gone by the time a
//! change has ended.

use super::{Engine, PackageWork, ThreadReader};
use crate::engine::files::EventFile;
use crate::event::exec::ExecFacts;
use crate::event::raw::SyscallEvent;
use crate::facts::{can_follow_packages, Agent, PackageNotice, Touch, Written};
use drift_core::command::manager::Action;
use drift_core::container::registry::Container;
use drift_core::packages::inventory::database_of;
use drift_core::verdict::binary::Binary;
use drift_core::verdict::origin::Origin;
use drift_core::verdict::script::Script;
use drift_formats::entry::ImagePath;
use std::sync::Arc;

/// Where trees are unpacked and copied to for a while.
const SCRATCH: [&[u8]; 2] = [b"/tmp", b"/var/tmp"];
/// Most ancestors told.
const MAX_ANCESTORS: usize = 12;
/// Most bytes told of a name.
const MAX_NAME: usize = 64;
/// Most bytes told of a command line.
const MAX_COMMAND: usize = 1024;
/// Parameter of an exec event: the effective user id.
const EXEC_USER: usize = 26;

impl Engine {
    /// Tells the background of a changed path of a package database.
    pub(super) fn note_database(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
        file: &EventFile,
    ) {
        if let Some(background) = &self.background {
            background.files_are_watched();
        }
        if self.background.is_none() || !can_follow_packages(&file.container) {
            return;
        }
        // Owner, mode and times are no part of a record.
        if file.only_metadata() {
            return;
        }
        let paths = [file.path.as_ref(), file.new_path.as_ref()];
        let is_database = |path: &&ImagePath| database_of(path).is_some();
        if !paths.iter().flatten().any(is_database) {
            return;
        }
        let (agent, weak) = self.database_agent(event, reader);
        let on_volume = file.on_other_mount();
        // What the image says nothing of, or nothing looks for packages in by itself, is of interest only as part of an
        // installation.
        let beside = |path: &ImagePath| on_volume || SCRATCH.iter().any(|dir| path.is_within(dir));
        if agent.manager.is_none() && paths.iter().flatten().filter(|p| is_database(p)).all(|p| beside(p)) {
            return;
        }
        let Some(background) = &self.background else { return };
        for path in paths.into_iter().flatten().filter(|path| database_of(path).is_some()) {
            let (container, path, agent) =
                (Arc::clone(&file.container), ImagePath::clone(path), Arc::clone(&agent));
            background.packages(PackageNotice::Touched(Touch {
                container,
                path,
                on_volume,
                writer: event.tid,
                agent,
                weak,
            }));
        }
    }

    /// Who is behind the package manager at work that the event's process takes part in; `None` where there is none.
    pub fn package_agent(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
    ) -> Option<Arc<Agent>> {
        let work = self.package_work(event, reader)?;
        let known = self.threads.peek(&work.leader).and_then(|state| state.agent.clone());
        Some(known.unwrap_or_else(|| self.agent_of(event, reader, Some(&work), work.followed)))
    }

    /// Who is behind a change of a package database that the event's process makes; and whether that is somebody who only
    /// asks.
    fn database_agent(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> (Arc<Agent>, bool) {
        let work = self.package_work(event, reader).filter(|_| self.is_trusted(event, reader));
        let asks = |work: &PackageWork| {
            !work.changes() && matches!(work.invocation.action, Action::Query | Action::Refresh)
        };
        let weak = work.as_ref().is_some_and(asks);
        let work = work.filter(|work| !asks(work));
        let of = work.as_ref().map_or(event.tid, |work| work.leader);
        let known = self.threads.peek(&of).and_then(|state| state.agent.clone());
        if let Some(known) = known.filter(|known| !weak || known.manager.is_none()) {
            return (known, weak);
        }
        // A start that was seen, and will not be told of at its end, was told then.
        let told =
            work.as_ref().and_then(|work| self.leaders_work(work.leader)).filter(|leader| leader.changes());
        let followed = told.is_none_or(|leader| leader.followed);
        let agent = self.agent_of(event, reader, work.as_ref(), followed);
        if let (None, Some(state)) = (&work, self.threads.peek_mut(&event.tid)) {
            state.agent = Some(Arc::clone(&agent));
        }
        (agent, weak)
    }

    /// The agent that the event's process, or the leader of its work, is; made anew, and remembered with the leader.
    pub(super) fn agent_of(
        &mut self,
        event: &SyscallEvent<'_>,
        reader: ThreadReader<'_>,
        work: Option<&PackageWork>,
        followed: bool,
    ) -> Arc<Agent> {
        let leader = work.map_or(event.tid, |work| work.leader);
        let own = leader == event.tid;
        // Of a leader whose start was not seen its writing child speaks: that one is trusted already.
        let trusted = work.is_some() && (!own || self.is_trusted(event, reader));
        let command = match own {
            true => self.command(event, reader),
            false => reader.threads.and_then(|t| t.command(reader.reader, leader)).unwrap_or_default().into(),
        };
        let (parent_command, ancestors) = self.ancestors(leader, reader);
        let user = ExecFacts::from_event(event).filter(|_| own).and_then(|_| event.u32_param(EXEC_USER));
        let origin = match self.is_host(event, reader) {
            true => Some(Origin::Host),
            false => self.binary(event, reader).map(|b| b.judgement.origin),
        };
        let provenance = self
            .binary_provenance(event, reader)
            .map(|(from, written)| (from.to_string(), written.map(|w| Arc::clone(&w.command))));
        let invocation = work.map(|work| &work.invocation);
        let agent = Arc::new(Agent {
            pid: leader,
            manager: invocation.filter(|_| trusted).map(|i| i.manager),
            action: invocation.map(|i| i.action),
            names: invocation.map(|i| i.names.clone()).unwrap_or_default(),
            command: cut(&command, MAX_COMMAND).into(),
            parent_command,
            ancestors,
            user: user.or_else(|| self.judge.host().user_of(leader)),
            origin: origin.filter(|_| own),
            provenance: provenance.filter(|_| own),
            followed,
        });
        if let Some(state) = self.threads.peek_mut(&leader).filter(|_| work.is_some()) {
            state.agent = Some(Arc::clone(&agent));
        }
        agent
    }

    /// Whether the event's process runs a program, and a script, that the image shipped, or that a package manager of
    /// the image installed: anything else can take any name.
    pub(super) fn is_trusted(&mut self, event: &SyscallEvent<'_>, reader: ThreadReader<'_>) -> bool {
        let Some(container) = self.container(event, reader) else { return false };
        let Some(binary) = self.binary(event, reader) else { return false };
        let script = self.script(event, reader);
        self.is_vouched_for(&container.id, &binary, script.as_deref(), |w| w.during.is_some())
    }

    /// As [`Engine::is_trusted`], of any thread of a container; not of one that has ended.
    pub(super) fn is_trusted_thread(
        &mut self,
        tid: i64,
        container: &Arc<Container>,
        reader: ThreadReader<'_>,
    ) -> bool {
        let Some(thread) = self.member(tid, container, reader) else { return false };
        let script = self.thread_script(tid, &thread, container, reader);
        let binary = self.thread_binary(tid, &thread, container, reader);
        self.is_vouched_for(&container.id, &binary, script.as_deref(), |w| w.during.is_some())
    }

    /// Whether a program and its script are the image's, or were written by somebody who is `fine`.
    pub(super) fn is_vouched_for(
        &self,
        container: &str,
        binary: &Binary,
        script: Option<&Script>,
        fine: impl Fn(&Written) -> bool,
    ) -> bool {
        let is_fine = |origin: Origin, inode: u64| match origin {
            Origin::Image | Origin::ImageTouched => true,
            Origin::Added | Origin::ImageModified | Origin::ImageUnverified => {
                inode != 0 && self.written.of(container, inode).is_some_and(&fine)
            }
            _ => false,
        };
        is_fine(binary.judgement.origin, binary.inode.ino)
            && script.is_none_or(|script| is_fine(script.judgement.origin, script.ino))
    }

    /// The command line of a thread's parent, and the names of its ancestors in the engine's table.
    fn ancestors(&self, tid: i64, reader: ThreadReader<'_>) -> (Option<Box<str>>, Vec<Box<str>>) {
        let (mut names, mut command) = (Vec::new(), None);
        let Some(threads) = reader.threads else { return (command, names) };
        let mut at = tid;
        while names.len() < MAX_ANCESTORS {
            let parent = threads.get(reader.reader, at).map_or(0, |thread| thread.ptid);
            if parent <= 1 || parent == at {
                break;
            }
            // The engine's word for what it does not know.
            let name =
                threads.name(reader.reader, parent).filter(|name| !matches!(name.as_str(), "" | "<NA>"));
            let Some(name) = name else { break };
            if command.is_none() {
                command = threads.command(reader.reader, parent).map(|line| cut(&line, MAX_COMMAND).into());
            }
            names.push(cut(&name, MAX_NAME).into());
            at = parent;
        }
        (command, names)
    }
}

/// The first bytes of a text.
fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end.min(text.len())).unwrap_or(text)
}
