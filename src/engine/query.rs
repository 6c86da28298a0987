//! The engine, asked about one event: what fields ask, each answered by the part that has the subject.

use super::content::Code;
use super::context::Context;
use super::declared;
use super::environment;
use super::files::EventFile;
use super::packages::PackageWork;
use super::peers::PeerFacts;
use super::role::{self, Role};
use super::{agents, scripts, work, State};
use crate::event::exec::ExecFacts;
use crate::event::injection::Means;
use crate::event::raw::SyscallEvent;
use crate::facts::{Agent, Process, Provenance, Written};
use drift_core::container::registry::Container;
use drift_core::container::volume::VolumeKind;
use drift_core::content::Explained;
use drift_core::image::view::Image;
use drift_core::policy::approved::Approval;
use drift_core::verdict::binary::{Binary, BinaryKey};
use drift_core::verdict::environment::EnvNames;
use drift_core::verdict::judge::Judgement;
use drift_core::verdict::origin::Origin;
use drift_core::verdict::port::Scope;
use drift_core::verdict::script::Script;
use drift_core::verdict::work::ImageWork;
use drift_formats::ports;
use std::sync::Arc;

/// Where a file comes from, and who wrote it last.
type Source<'a> = (Provenance, Option<&'a Written>);

/// Questions about an event. `None` is the answer to each on the host, and where it does not apply or is not
/// known.
#[derive(Debug)]
pub struct Query<'e> {
    cx: Context<'e>,
    state: &'e mut State,
}

impl<'e> Query<'e> {
    pub(super) fn new(cx: Context<'e>, state: &'e mut State) -> Self {
        Self { cx, state }
    }

    /// The event.
    pub fn event(&self) -> &'e SyscallEvent<'e> {
        self.cx.event
    }

    /// The facts of an exec that succeeded.
    pub fn exec(&self) -> Option<ExecFacts<'e>> {
        self.cx.exec()
    }

    /// The container of the event's thread.
    pub fn container(&mut self) -> Option<Arc<Container>> {
        self.state.processes.threads.container(&self.cx)
    }

    /// The same, with what was declared of it as far as that is known.
    pub fn declared_container(&mut self) -> Option<Arc<Container>> {
        declared::container(&self.cx, &mut self.state.processes.threads)
    }

    /// Name of the node that Falco runs on; `None` where it is not known.
    pub fn host_name(&self) -> Option<&'e str> {
        self.cx.deps.host_name.as_deref()
    }

    /// What is known of the event's process.
    pub fn process(&mut self) -> Option<Arc<Process>> {
        self.container()?;
        Some(self.state.processes.threads.process(&self.cx))
    }

    /// When the container's init process started, nanoseconds since the epoch.
    pub fn container_started(&mut self) -> Option<u64> {
        self.state.processes.threads.container_started(&self.cx)
    }

    /// What the event's process is to its container.
    pub fn process_role(&mut self) -> Option<Role> {
        let event = self.cx.event.identity();
        if let Some((_, known)) = self.state.role.filter(|(of, _)| *of == event) {
            return known;
        }
        let role = role::of_event(&self.cx, &mut self.state.processes.threads);
        self.state.role = Some((event, role));
        role
    }

    /// What the list of approved images says of the container's; `None` without a list.
    pub fn approval(&mut self) -> Option<Approval> {
        declared::approval(&self.cx, &mut self.state.processes.threads)
    }

    /// Whether the container's first process starts what was declared.
    pub fn entrypoint_match(&mut self) -> Option<bool> {
        declared::entrypoint_match(&self.cx, &mut self.state.processes.threads)
    }

    /// How the environment that the event's process was started with differs from the declared one.
    pub fn environment(&mut self) -> Option<Arc<EnvNames>> {
        environment::of_event(&self.cx, &mut self.state.processes)
    }

    /// Whether a container's image has a path, links followed. `key` is any key of that container and path.
    pub fn image_has_file(&mut self, key: BinaryKey, image: &Image, path: &[u8]) -> Option<bool> {
        self.state.processes.threads.containers.image_has_file(key, image, path)
    }

    /// The verdict on the executable of the event's process.
    pub fn binary(&mut self) -> Option<Arc<Binary>> {
        self.state.processes.binary(&self.cx)
    }

    /// Where the executable of the event's process comes from: [`Origin::Host`] on the host.
    pub fn binary_origin(&mut self) -> Option<Origin> {
        match self.binary() {
            Some(binary) => Some(binary.judgement.origin),
            None => self.state.processes.threads.is_host(&self.cx).then_some(Origin::Host),
        }
    }

    /// Which run of its executable in the container the event's process is; `None` where runs are not
    /// counted.
    pub fn binary_runs(&mut self) -> Option<u64> {
        self.binary()?;
        self.state.processes.threads.of_event(&self.cx)?.run
    }

    /// SHA-256 of the executable; asks a worker for it where it is not known, and says `None` meanwhile.
    pub fn binary_sha256(&mut self) -> Option<[u8; 32]> {
        let p = &mut self.state.processes;
        p.programs.sha256(&self.cx, &mut p.threads, &p.writers)
    }

    /// Traits of the executable.
    pub fn binary_traits(&mut self) -> Option<Arc<[&'static str]>> {
        let p = &mut self.state.processes;
        p.programs.traits(&self.cx, &mut p.threads, &p.writers)
    }

    /// Where the executable comes from, and who wrote it last.
    pub fn binary_provenance(&mut self) -> Option<Source<'_>> {
        self.state.processes.binary_provenance(&self.cx)
    }

    /// Where the content of a drifted executable comes from all the same.
    pub fn binary_content(&mut self) -> Option<Arc<Explained>> {
        let binary = self.binary()?;
        let p = &mut self.state.processes;
        p.contents.of(&self.cx, &mut p.threads, Code::Program, &binary.judgement, &p.writers)
    }

    /// As [`Self::binary_content`], of the script.
    pub fn script_content(&mut self) -> Option<Arc<Explained>> {
        let script = self.script()?;
        let p = &mut self.state.processes;
        p.contents.of(&self.cx, &mut p.threads, Code::Script, &script.judgement, &p.writers)
    }

    /// Whether the executable was reported by an earlier event, as it is now.
    ///
    /// `None` for what the image has.
    pub fn binary_is_repeated(&mut self) -> Option<bool> {
        let binary = self.binary().filter(|binary| is_counted(binary.judgement.origin))?;
        let content = self.binary_content().map(|explained| explained.kind);
        let work = self.binary_provenance().and_then(|(provenance, written)| {
            Some((provenance.to_string(), written?.work.map(|work| work.to_string())))
        });
        // Written by another one, or of another kind, it is another rule's.
        let thing = ("binary", binary.key, binary.judgement.origin.as_str(), content, work);
        self.is_repeated(thing)
    }

    /// As [`Self::binary_is_repeated`], of the script.
    pub fn script_is_repeated(&mut self) -> Option<bool> {
        let script = self.script().filter(|script| is_counted(script.judgement.origin))?;
        let content = self.script_content().map(|explained| explained.kind);
        let is_entrys = self.script_is_entrys();
        let known = self.script_provenance();
        if let Some((_, Some(written))) = known.as_ref().filter(|_| is_entrys) {
            // A job runner writes one script after another.
            let thing = ("script of the entry point", Arc::clone(&written.command));
            return self.is_repeated(thing);
        }
        let written_at = known.as_ref().and_then(|(_, written)| Some(written.as_ref()?.at));
        let work = known.and_then(|(provenance, written)| {
            Some((provenance.to_string(), written?.work.map(|work| work.to_string())))
        });
        // Of a file that was gone when it was looked at nothing but the name is known.
        let is_live = self.container()?.live.is_some();
        let work = work.map(|work| (work, written_at));
        if script.ino == 0 && is_live && written_at.is_none() {
            return Some(false);
        }
        let file = (script.path.clone(), script.ino, script.ctime);
        let thing = ("script", file, script.judgement.origin.as_str(), content, work);
        self.is_repeated(thing)
    }

    fn is_repeated(&mut self, thing: impl std::hash::Hash) -> Option<bool> {
        let container = self.container()?;
        let (event, at) = (self.cx.event.identity(), self.cx.event.ts);
        Some(self.state.repeats.is_repeated(&container.id, thing, event, at))
    }

    /// Whether the shell that runs the container's entry point wrote the script by itself, and runs it.
    pub fn script_is_entrys(&mut self) -> bool {
        let shell = self.script_provenance().and_then(|(_, written)| written?.entry_shell);
        shell.is_some_and(|shell| work::is_run_by(&self.cx, &mut self.state.processes, shell.get().into()))
    }

    /// The work of the image's own that the event's process takes part in.
    pub fn process_work(&mut self) -> Option<ImageWork> {
        work::of_event(&self.cx, &mut self.state.processes)
    }

    /// The script that the event's process was started on.
    pub fn script(&mut self) -> Option<Arc<Script>> {
        self.state.processes.script(&self.cx)
    }

    /// How the event's process came to what it runs: as the script did, `pipe`, or `cut` where its arguments
    /// end before they say.
    pub fn script_source(&mut self) -> Option<&'static str> {
        let state = self.state.processes.script_state(&self.cx)?;
        match state.script.as_ref().and_then(Option::as_deref) {
            Some(script) if script.is_drift() => Some(script.via.as_str()),
            _ if state.pipe.is_some() => Some("pipe"),
            _ if state.is_cut => Some("cut"),
            script => script.map(|script| script.via.as_str()),
        }
    }

    /// Origin of the script; [`Origin::Unknown`] where the arguments end before they say which.
    pub fn script_origin(&mut self) -> Option<Origin> {
        let state = self.state.processes.script_state(&self.cx)?;
        match state.script.as_ref().and_then(Option::as_deref) {
            Some(script) => Some(script.judgement.origin),
            None => (state.is_cut && state.pipe.is_none()).then_some(Origin::Unknown),
        }
    }

    /// The program that feeds the pipe from which the event's process reads its program: a download, or a
    /// decoder.
    pub fn piped_from(&mut self) -> Option<Arc<str>> {
        self.state.processes.piping(&self.cx)?.from.clone()
    }

    /// The interpreter that reads its program from the pipe which the event's process feeds, and was there
    /// first.
    pub fn piped_into(&mut self) -> Option<Arc<str>> {
        self.state.processes.piping(&self.cx)?.into.clone()
    }

    /// The first argument of the event's process, or file on its standard input, that is not what the image
    /// shipped.
    pub fn argument(&mut self) -> Option<Arc<Script>> {
        scripts::argument(&self.cx, &mut self.state.processes.threads)
    }

    /// As [`Self::binary_runs`], of the script.
    pub fn script_runs(&mut self) -> Option<u64> {
        self.script()?;
        self.state.processes.threads.of_event(&self.cx)?.script_run
    }

    /// As [`Self::binary_provenance`], of the script.
    pub fn script_provenance(&mut self) -> Option<Source<'_>> {
        self.state.processes.script_provenance(&self.cx)
    }

    /// The file that the event's call changed, or may have; `None` for files of the host and of the kernel's
    /// own file systems.
    pub fn file(&mut self) -> Option<Arc<EventFile>> {
        self.state.files.of_event(&self.cx, &mut self.state.processes)
    }

    /// What the call says of its file. The first question starts the comparison with the image, and notes who
    /// writes.
    pub fn file_change(&mut self) -> Option<&'static str> {
        let State { files, packages, processes, .. } = &mut *self.state;
        files.change(&self.cx, packages, processes)
    }

    /// Judges the event's file as it is found now.
    pub fn file_judgement(&mut self) -> Option<Arc<Judgement>> {
        self.state.files.judgement(&self.cx, &mut self.state.processes)
    }

    /// Where the event's file comes from, and who wrote it last.
    pub fn file_provenance(&mut self) -> Option<Source<'_>> {
        self.state.files.provenance(&self.cx, &mut self.state.processes)
    }

    /// Kind of the event's file, by its path and its first bytes.
    pub fn file_kind(&mut self) -> Option<&'static str> {
        self.state.files.kind(&self.cx, &mut self.state.processes)
    }

    /// Kind of volume that the event's file lies on; `None` on the root file system.
    pub fn file_volume(&mut self) -> Option<VolumeKind> {
        self.state.files.volume(&self.cx, &mut self.state.processes)
    }

    /// Has a worker find out whether the event's call loads a library that is not the image's. `true` if it
    /// may.
    pub fn watch_library(&mut self) -> bool {
        self.state.libraries.watch(&self.cx, &mut self.state.processes)
    }

    /// How the event's call writes to another process's memory or registers; once for each pair of processes
    /// in an interval.
    pub fn injection(&mut self) -> Option<Means> {
        self.state.loads.injection(&self.cx, &mut self.state.processes)
    }

    /// The package manager that the event's process is, or that the nearest ancestor in its container is.
    pub fn package_work(&mut self) -> Option<PackageWork> {
        self.state.packages.work(&self.cx, &mut self.state.processes)
    }

    /// Who is behind the package manager at work.
    pub fn package_agent(&mut self) -> Option<Arc<Agent>> {
        agents::of_work(&self.cx, &mut self.state.packages, &mut self.state.processes)
    }

    /// Whether the start of the package manager whose end this event reports was reported.
    pub fn is_reported_at_start(&self) -> bool {
        self.state.packages.is_reported_at_start(self.cx.event.tid)
    }

    /// The other side of the connection that the event makes or takes.
    pub fn peer(&mut self) -> Option<PeerFacts> {
        self.state.peers.of_event(&self.cx, &mut self.state.processes)
    }

    /// Notes the addresses that a nameserver's answer gives for a name. `true` if the event is such an
    /// answer.
    pub fn watch_answer(&mut self) -> bool {
        self.state.peers.watch_answer(&self.cx, &mut self.state.processes)
    }

    /// The port that the event binds or listens on.
    pub fn port(&mut self) -> Option<ports::Ports> {
        self.state.ports.of_event(&self.cx, &mut self.state.processes)
    }

    /// Who can reach that port.
    pub fn port_scope(&mut self) -> Option<Scope> {
        self.state.ports.scope(&self.cx, &mut self.state.processes)
    }

    /// Whether the container's own program opens that port while the container starts.
    pub fn port_is_main(&mut self) -> Option<bool> {
        self.state.ports.is_main(&self.cx, &mut self.state.processes)
    }

    /// Whether that port is declared.
    pub fn port_declared(&mut self) -> Option<bool> {
        self.state.ports.is_declared(&self.cx, &mut self.state.processes)
    }

    /// Whether this is the first event that is asked about of those that bind the port in the container, or
    /// listen on it.
    pub fn port_is_new(&mut self) -> Option<bool> {
        self.state.ports.is_new(&self.cx, &mut self.state.processes)
    }
}

/// Whether runs of a file with this origin are alerts.
fn is_counted(origin: Origin) -> bool {
    origin.is_drift() || origin == Origin::ImageUnverified
}
