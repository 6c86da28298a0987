//! What a question is answered with, beside the state of the engine's parts.

use crate::config::Config;
use crate::event::exec::{ExecFacts, ExecLayout};
use crate::event::raw::{EventKey, SyscallEvent};
use crate::event::threads::ThreadReader;
use crate::metrics::Metrics;
use crate::prebuilt::Lists;
use crate::workers::Workers;
use drift_core::host::Host;
use drift_core::verdict::judge::Judge;
use std::cell::Cell;
use std::sync::Arc;

/// What all parts share, for as long as the engine lives.
#[derive(Debug)]
pub(super) struct Dependencies {
    pub(super) config: Arc<Config>,
    pub(super) judge: Judge,
    pub(super) metrics: Arc<Metrics>,
    /// Approved images and baselines, as last read.
    pub(super) lists: Lists,
    /// Name of the node.
    pub(super) host_name: Option<Box<str>>,
    /// `None` in a replay.
    pub(super) workers: Option<Workers>,
}

impl Dependencies {
    pub(super) fn host(&self) -> &Host {
        self.judge.host()
    }
}

/// What was decoded of the event at hand, so that it is decoded once: the engine asks about one event many
/// times.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    key: EventKey,
    exec: Cell<Option<Option<ExecLayout>>>,
}

impl Decoded {
    /// Turns to an event; whether it is another one than before.
    pub(super) fn turn_to(&mut self, event: &SyscallEvent<'_>) -> bool {
        let key = event.identity();
        let is_new = key != self.key;
        if is_new {
            *self = Self { key, exec: Cell::new(None) };
        }
        is_new
    }
}

/// One event, and what it is seen with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) event: &'a SyscallEvent<'a>,
    /// The engine's threads.
    pub(super) table: ThreadReader<'a>,
    pub(super) deps: &'a Dependencies,
    pub(super) decoded: &'a Decoded,
}

impl<'a> Context<'a> {
    pub(super) fn host(&self) -> &'a Host {
        self.deps.host()
    }

    pub(super) fn workers(&self) -> Option<&'a Workers> {
        self.deps.workers.as_ref()
    }

    /// The facts of the event, if it is an exec that succeeded.
    pub(super) fn exec(&self) -> Option<ExecFacts<'a>> {
        let layout = self.decoded.exec.get().unwrap_or_else(|| {
            let layout = ExecLayout::of(self.event);
            self.decoded.exec.set(Some(layout));
            layout
        });
        layout?.facts(self.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::raw::code;
    use crate::event::raw::tests::event;

    #[test]
    fn an_event_is_turned_to_once() {
        let bytes = event(code::PROCEXIT, 7, &[]);
        let mut event = SyscallEvent::from_bytes(&bytes).unwrap();
        event.number = 1;
        let mut decoded = Decoded::default();
        assert!(decoded.turn_to(&event), "findings are taken in");
        decoded.exec.set(Some(None));
        assert!(!decoded.turn_to(&event), "asked about again: nothing may have changed");
        assert!(decoded.exec.get().is_some());
        event.number = 2;
        assert!(decoded.turn_to(&event));
        assert!(decoded.exec.get().is_none());
    }
}
