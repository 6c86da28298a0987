//! Ports that containers opened before it was known what they declare: judged once that is known.
//!
//! A container's files are read in the background, and a program may listen before that: on a busy node a
//! process of low priority is late.
//!
//! Invariant: bounded in number and time, and for each container; each port of a container is told once.

use crate::facts::EarlyPort;
use crate::workers::worker::share_of;
use std::time::Duration;

/// How long what a container declares may take to be known; its files are read three times within 6 seconds.
const LIMIT: Duration = Duration::from_secs(15);
/// Most ports that wait for that.
const MAX_WAITING: usize = 4096;

fn same(a: &EarlyPort, b: &EarlyPort) -> bool {
    (a.protocol, a.port) == (b.protocol, b.port) && a.container.id == b.container.id
}

/// Those that wait.
#[derive(Debug)]
pub(super) struct EarlyPorts {
    ports: Vec<EarlyPort>,
    /// Most of one container.
    share: usize,
}

impl EarlyPorts {
    /// None yet; a container may have one part in `parts` of them.
    pub(super) fn new(parts: usize) -> Self {
        Self { ports: Vec::new(), share: share_of(MAX_WAITING, parts) }
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }

    /// Has a port wait; `false` if there is no room.
    pub(super) fn take(&mut self, port: EarlyPort) -> bool {
        if self.ports.iter().any(|waiting| same(waiting, &port)) {
            return true;
        }
        let own = self.ports.iter().filter(|waiting| waiting.container.id == port.container.id).count();
        let has_room = self.ports.len() < MAX_WAITING && own < self.share;
        if has_room {
            self.ports.push(port);
        }
        has_room
    }

    /// Tells those that turn out to be undeclared, and forgets them and those that waited too long.
    pub(super) fn judge(&mut self, report: &mut dyn FnMut(&EarlyPort)) {
        self.ports.retain(|port| {
            let declared = port.container.declaration.read();
            match declared.as_ref().and_then(|d| d.declares_port(port.protocol, port.port)) {
                Some(false) => report(port),
                None if port.since.elapsed() < LIMIT => return true,
                Some(true) | None => {}
            }
            false
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drift_core::container::declared::Declared;
    use drift_core::container::registry::Container;
    use drift_core::verdict::origin::Origin;
    use drift_core::verdict::port::{thing, Scope};
    use drift_formats::ports::Ports;
    use drift_formats::ports::Protocol;
    use std::cell::RefCell;
    use std::sync::Arc;
    use std::time::Instant;

    fn container() -> Arc<Container> {
        Arc::new(Container {
            id: "c".into(),
            live: None,
            image: Err("not looked at".into()),
            from_manifest: false,
            drifts: Arc::default(),
            installed: Default::default(),
            declaration: Arc::default(),
        })
    }

    fn port(container: &Arc<Container>, port: u16) -> EarlyPort {
        EarlyPort {
            container: Arc::clone(container),
            protocol: Protocol::Tcp,
            port,
            tid: 7,
            process: Arc::default(),
            command: "nc -l".into(),
            origin: Some(Origin::Image),
            scope: Scope::Any,
            is_main: false,
            thing: thing(Protocol::Tcp, port, b"/usr/bin/nc"),
            socket: None,
            since: Instant::now(),
        }
    }

    #[test]
    fn they_wait_until_it_is_known_what_is_declared() {
        let container = container();
        let mut ports = EarlyPorts::new(1);
        for number in [8080, 4444, 4444] {
            assert!(ports.take(port(&container, number)));
        }
        let told = RefCell::new(Vec::new());
        let mut tell = |port: &EarlyPort| told.borrow_mut().push(port.port);
        ports.judge(&mut tell);
        assert_eq!((told.borrow().len(), ports.ports.len()), (0, 2), "each once");
        // Read, but the image's configuration was not there yet.
        container.declaration.set_read(Some(Arc::default()));
        ports.judge(&mut tell);
        assert_eq!((told.borrow().len(), ports.ports.len()), (0, 2));
        let declared =
            Declared { ports: Some(vec![Ports::parse("8080/tcp").unwrap()]), ..Declared::default() };
        container.declaration.set_read(Some(Arc::new(declared)));
        ports.judge(&mut tell);
        assert_eq!((told.into_inner(), ports.ports.len()), (vec![4444], 0));
    }

    #[test]
    fn none_waits_for_ever_and_no_more_than_there_is_room_for() {
        let container = container();
        let mut ports = EarlyPorts::new(1);
        let long_ago = Instant::now() - LIMIT;
        for number in 0..=MAX_WAITING as u16 {
            let fits = ports.take(EarlyPort { since: long_ago, ..port(&container, number) });
            assert_eq!(fits, usize::from(number) < MAX_WAITING);
        }
        ports.judge(&mut |port| panic!("told: {port:?}"));
        assert!(ports.ports.is_empty());
    }

    #[test]
    fn one_container_leaves_room_for_others() {
        let mut ports = EarlyPorts::new(16);
        let hostile = container();
        let fits = (0..=u16::MAX).filter(|number| ports.take(port(&hostile, *number))).count();
        assert_eq!(fits, MAX_WAITING / 16);
        let other = Container { id: "other".into(), ..Arc::into_inner(container()).unwrap() };
        assert!(ports.take(port(&Arc::new(other), 8080)));
    }
}
