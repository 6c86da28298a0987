//! Cases as a capture, and the directory that stands for the host's root while it is replayed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{anyhow, bail, Context, Result};
use serde_json::Value;

use super::{Actor, By, Case, Happening, KernelCall, Mount, Place, SocketCall};
use crate::live::event::{Event, Facts};
use crate::live::layer::Layer;
use crate::live::process::{Exe, Process};
use crate::live::scap::{self, event_type, Params};

/// The plugin's id in events of its source (`src/source/mod.rs`).
pub const SOURCE_PLUGIN: u32 = 0x4452_4946;

/// When the first case begins, nanoseconds since the epoch: 2026-11-01.
const BEGIN: u64 = 1_793_491_200_000_000_000;
const SECOND: u64 = 1_000_000_000;
/// Time of a case.
const STRETCH: u64 = 100 * SECOND;
/// So many cases there can be.
const SLOTS: u64 = 100_000;
const BOOT: u64 = BEGIN - 30 * 86_400 * SECOND;
/// Thread ids above those of any machine: no process of this one answers for them.
const FIRST_TID: i64 = 5_000_000;
/// Thread ids of a case.
const TIDS: i64 = 1000;

/// The id that the engine puts into events which plugins tell among the kernel's.
const AMONG_SYSCALLS: u32 = 0;

/// Event codes that nothing else here writes (`ppm_events_public.h`).
const OPENAT_X: u16 = 307;
const PIPE_X: u16 = 61;
const SOCKET_X: u16 = 19;
const BIND_X: u16 = 21;
const CONNECT_X: u16 = 23;
const LISTEN_X: u16 = 25;
const ACCEPT_X: u16 = 247;
const MOUNT_X: u16 = 257;
const PTRACE_X: u16 = 169;
const IO_URING_SETUP_X: u16 = 339;
const PROCESS_VM_WRITEV_X: u16 = 423;

/// A capture of cases.
#[derive(Debug)]
pub struct Capture {
    /// Name and container of each case, by its stretch of time.
    cases: BTreeMap<u64, (String, String)>,
    bytes: Vec<u8>,
    /// Files of the host's root, for containers that have mounts.
    host: Vec<(String, String)>,
}

impl Capture {
    /// The capture of some cases. What a case is made into does not depend on the others.
    ///
    /// # Errors
    /// A case names a process that it does not have, or its name falls on another's stretch of time.
    pub fn new(cases: &[Case]) -> Result<Self> {
        let mut head = scap::file_header(1, BOOT);
        let (mut events, mut host) = (BTreeMap::new(), Vec::new());
        let mut known: BTreeMap<u64, (String, String)> = BTreeMap::new();
        for case in cases {
            let slot = slot_of(&case.name);
            if let Some((other, _)) = known.insert(slot, (case.name.clone(), container_id(slot, case))) {
                bail!("rename one of the cases {other:?} and {:?}: both fall on stretch {slot}", case.name);
            }
            let mut stage = Stage::new(slot, case);
            for happening in &case.events {
                stage.play(happening).with_context(|| format!("case {:?}", case.name))?;
            }
            stage.table.iter().for_each(|process| head.extend(scap::process_list(process)));
            events.insert(slot, stage.events);
            if !case.mounts.is_empty() {
                host.extend(stage.table.iter().flat_map(|process| proc_files(process, &case.mounts)));
            }
        }
        // What a container's root is told from.
        host.push(("proc/1/mountinfo".to_owned(), "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n".to_owned()));
        // sysdig shows nothing before the first event of the kernel's.
        head.extend(Params::default().i64(0).u64(1).event(BEGIN, 0, event_type::NANOSLEEP_X));
        head.extend(events.into_values().flatten());
        Ok(Self { cases: known, bytes: head, host })
    }

    /// Writes the capture.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, &self.bytes).with_context(|| format!("writing {}", path.display()))
    }

    /// Makes the directory that stands for the host's root.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_host(&self, root: &Path) -> Result<()> {
        for (name, text) in &self.host {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap_or(root)).context("making the host's root")?;
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }

    /// The name of the case in whose time an event falls.
    pub fn case_at(&self, time: u64) -> Option<&str> {
        self.cases.get(&(time.checked_sub(BEGIN)? / STRETCH)).map(|(name, _)| name.as_str())
    }

    /// The id of a case's container.
    pub fn container_of(&self, case: &str) -> Option<&str> {
        self.cases.values().find(|(name, _)| name == case).map(|(_, id)| id.as_str())
    }
}

/// The stretch of time of a case, by its name (FNV-1a): the alerts of the others stay as they are when one is
/// added.
fn slot_of(name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash % SLOTS
}

fn container_id(slot: u64, case: &Case) -> String {
    case.container.clone().unwrap_or_else(|| format!("{:064x}", 0xc0de_0000_0000 + slot))
}

/// One case being played.
struct Stage {
    container: String,
    image: String,
    next_tid: i64,
    time: u64,
    age: u64,
    table: Vec<Process>,
    events: Vec<u8>,
    labels: BTreeMap<String, Process>,
    next_fd: i64,
}

impl Stage {
    fn new(slot: u64, case: &Case) -> Self {
        let container = container_id(slot, case);
        let first = FIRST_TID + i64::try_from(slot).unwrap_or(0) * TIDS;
        let mut stage = Self {
            container,
            image: case.image.clone(),
            next_tid: first,
            time: BEGIN + slot * STRETCH,
            age: case.age * SECOND,
            table: Vec::new(),
            events: Vec::new(),
            labels: BTreeMap::new(),
            next_fd: 3,
        };
        let shim = Process {
            comm: b"containerd-shim".to_vec(),
            cmdline: b"/usr/bin/containerd-shim\0".to_vec(),
            cgroups: cgroups("/system.slice/containerd.service"),
            ..stage.process(1, b"/usr/bin/containerd-shim")
        };
        let shim = Process { vtid: shim.tid, vpid: shim.tid, pidns_start_ns: 0, ..shim };
        let init = Process {
            comm: b"init".to_vec(),
            cmdline: b"/sbin/init\0".to_vec(),
            vtid: 1,
            vpid: 1,
            ..stage.process(shim.tid, b"/sbin/init")
        };
        // What the container plugin tells when a container starts.
        let plugin = serde_json::json!({"container": {"full_id": stage.container, "image": stage.image}});
        let (ts, data) = (stage.now(), format!("{plugin}\0"));
        stage.events.extend(scap::async_event(ts, init.tid, AMONG_SYSCALLS, b"container", data.as_bytes()));
        stage.table = vec![shim, init];
        stage
    }

    fn now(&mut self) -> u64 {
        self.time += 1_000_000;
        self.time
    }

    fn process(&mut self, ppid: i64, file: &[u8]) -> Process {
        let tid = self.next_tid;
        self.next_tid += 1;
        let ctime_ns = BOOT + 1_234_567_891;
        Process {
            tid,
            pid: tid,
            ppid,
            sid: 1,
            pgid: tid,
            vtid: tid - FIRST_TID + 10,
            vpid: tid - FIRST_TID + 10,
            vpgid: 1,
            pidns_level: 1,
            env: b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\0APP_ENV=production\0"
                .to_vec(),
            cwd: b"/".to_vec(),
            root: b"/".to_vec(),
            cgroups: cgroups(&format!("/k8s.io/{}", self.container)),
            loginuid: u32::MAX,
            fdlimit: 1024,
            // The list of processes has it since the epoch, events since boot.
            pidns_start_ns: self.time.saturating_sub(self.age),
            exe: Exe {
                path: file.to_vec(),
                ino: 0,
                ctime_ns,
                mtime_ns: ctime_ns,
                ctime_subsec_ns: 234_567_891,
                layer: Layer::Lower,
                memfd: false,
                writable: false,
            },
            ..Process::default()
        }
    }

    /// The process, its ancestors put into the table.
    fn stage(&mut self, actor: &Actor) -> Process {
        let (shim, init) = (self.table.first().map_or(0, |p| p.tid), self.table.get(1).map_or(0, |p| p.tid));
        let below = actor.below.as_ref().and_then(|label| self.labels.get(label)).map(|process| process.tid);
        let is_outside = actor.from_outside || actor.is_first;
        let mut parent = below.unwrap_or(if is_outside { shim } else { init });
        for name in actor.under.iter().rev().filter(|_| !is_outside && below.is_none()) {
            let mut ancestor = self.process(parent, format!("/usr/bin/{name}").as_bytes());
            ancestor.comm = comm(name);
            ancestor.cmdline = [name.as_bytes(), b"\0"].concat();
            parent = ancestor.tid;
            self.table.push(ancestor);
        }
        let mut process = self.process(parent, actor.file.as_bytes());
        let executed = actor.executed.as_deref().unwrap_or(&actor.file);
        process.comm = comm(executed.rsplit('/').next().unwrap_or_default());
        process.executed = executed.as_bytes().to_vec();
        if actor.is_first {
            (process.vtid, process.vpid) = (1, 1);
        }
        process.cmdline = actor.argv.iter().flat_map(|arg| [arg.as_bytes(), b"\0"].concat()).collect();
        process.env.extend(actor.env.iter().flat_map(|var| [var.as_bytes(), b"\0"].concat()));
        process.tty = actor.tty;
        process.euid = actor.uid;
        process.exe.ino = if actor.ino == 0 { process.tid.unsigned_abs() } else { actor.ino };
        (process.exe.layer, process.exe.memfd) = match actor.layer {
            Place::Image => (Layer::Lower, false),
            Place::Upper => (Layer::Upper, false),
            Place::Elsewhere => (Layer::None, false),
            Place::Memory => (Layer::None, true),
        };
        if let Some(label) = &actor.label {
            self.labels.insert(label.clone(), process.clone());
        }
        process
    }

    fn by(&mut self, by: &By) -> Result<Process> {
        match by {
            By::Known(label) => {
                self.labels.get(label).cloned().ok_or_else(|| anyhow!("there is no process {label:?}"))
            }
            By::New(actor) => {
                let process = self.stage(actor);
                self.table.push(process.clone());
                Ok(process)
            }
        }
    }

    fn play(&mut self, happening: &Happening) -> Result<()> {
        match happening {
            Happening::Exec(actor) => {
                let process = self.stage(actor);
                // Before its exec it is its parent's twin.
                let twin = self.table.iter().find(|p| p.tid == process.ppid).cloned().unwrap_or_default();
                let fork = Process {
                    comm: twin.comm,
                    cmdline: twin.cmdline,
                    exe: twin.exe,
                    env: twin.env,
                    ..process.clone()
                };
                self.table.push(fork);
                for (number, fd) in
                    [(actor.pipes.0, 0), (actor.pipes.1, 1)].into_iter().filter(|(n, _)| *n != 0)
                {
                    let (ts, other) = (self.now(), self.fd() + 100);
                    // Of this case alone.
                    let ino = self.container_number() + u64::from(number);
                    let params = Params::default().i64(0).i64(fd).i64(other).u64(ino);
                    self.events.extend(params.event(ts, process.tid, PIPE_X));
                }
                let ts = self.now();
                self.events.extend(Event::from_exec(ts, process, &Facts::default()).block);
            }
            Happening::Refused { by, path } => {
                let (process, ts) = (self.by(by)?, self.now());
                let event = Event::from_refused(ts, &process, path.as_bytes(), 8, &Facts::default());
                self.events.extend(event.block);
            }
            Happening::Open { by, path, write, create, ino } => {
                let (process, ts, fd) = (self.by(by)?, self.now(), self.fd());
                // PPM_O_RDONLY or PPM_O_WRONLY, PPM_O_CREAT, PPM_O_F_CREATED, PPM_FD_UPPER_LAYER.
                let created = if *create { (1 << 2) | (1 << 14) } else { 0 };
                let flags = if *write { (1 << 1) | created | (1 << 16) } else { 1 };
                self.events.extend(
                    Params::default()
                        .i64(fd)
                        .i64(-100)
                        .text(path.as_bytes())
                        .u32(flags)
                        .u32(0)
                        .u32(0)
                        .u64(*ino)
                        .event(ts, process.tid, OPENAT_X),
                );
            }
            Happening::Socket { by, call, address, port, udp } => {
                let (process, fd) = (self.by(by)?, self.fd());
                self.socket(process.tid, fd, *call, (*address, *port), *udp);
            }
            Happening::Mount { by, target } => {
                let (process, ts) = (self.by(by)?, self.now());
                let params =
                    Params::default().i64(0).text(b"/dev/sdb1").text(target.as_bytes()).text(b"ext4").u32(0);
                self.events.extend(params.event(ts, process.tid, MOUNT_X));
            }
            Happening::Call { by, call } => {
                let (process, ts) = (self.by(by)?, self.now());
                let other = process.tid + 1;
                let (params, kind) = match call {
                    KernelCall::Ptrace(request) => {
                        let dynamic = [0u8; 9];
                        let params = Params::default().i64(0).bytes(&dynamic).bytes(&dynamic);
                        (params.u16(*request).i64(other), PTRACE_X)
                    }
                    KernelCall::ProcessVmWritev => {
                        (Params::default().i64(4).i64(other).bytes(b"code"), PROCESS_VM_WRITEV_X)
                    }
                    KernelCall::Socket(family) => {
                        (Params::default().i64(self.fd()).u32(*family).u32(5).u32(0), SOCKET_X)
                    }
                    KernelCall::IoUring(result) => {
                        let params = Params::default().i64(*result);
                        ((0..7).fold(params, |params, _| params.u32(0)), IO_URING_SETUP_X)
                    }
                };
                self.events.extend(params.event(ts, process.tid, kind));
            }
            Happening::Told { by, name, payload } => {
                let (process, ts) = (self.by(by)?, self.now());
                let mut payload = payload.clone();
                payload.entry("image".to_owned()).or_insert_with(|| Value::from(self.image.clone()));
                let data = self.json(&payload);
                self.events.extend(scap::async_event(
                    ts,
                    process.tid,
                    AMONG_SYSCALLS,
                    name.as_bytes(),
                    &data,
                ));
            }
            Happening::Source(payload) => {
                let (ts, mut data) = (self.now(), self.json(payload));
                data.pop(); // no zero at the end here
                self.events.extend(scap::plugin_event(ts, SOURCE_PLUGIN, &data));
            }
        }
        Ok(())
    }

    fn socket(&mut self, tid: i64, fd: i64, call: SocketCall, (ip, port): ([u8; 4], u16), udp: bool) {
        const INET: u8 = 2;
        let packed = |ip: [u8; 4], port: u16| [&ip[..], &port.to_le_bytes()].concat();
        let address = [&[INET][..], &packed(ip, port)].concat();
        let own = packed([10, 1, 2, 3], if call == SocketCall::Accept { port } else { 40_000 });
        if call != SocketCall::Accept {
            let kind = if udp { 2u32 } else { 1 };
            let ts = self.now();
            let socket = Params::default().i64(fd).u32(u32::from(INET)).u32(kind).u32(0);
            self.events.extend(socket.event(ts, tid, SOCKET_X));
        }
        let ts = self.now();
        let event = match call {
            SocketCall::Bind | SocketCall::Listen => {
                Params::default().i64(0).bytes(&address).i64(fd).event(ts, tid, BIND_X)
            }
            SocketCall::Connect => {
                let tuple = [&[INET][..], &own, &packed(ip, port)].concat();
                Params::default().i64(0).bytes(&tuple).i64(fd).bytes(&address).event(ts, tid, CONNECT_X)
            }
            SocketCall::Accept => {
                let tuple = [&[INET][..], &packed(ip, 50_000), &own].concat();
                Params::default().i64(fd).bytes(&tuple).u8(0).u32(0).u32(5).event(ts, tid, ACCEPT_X)
            }
        };
        self.events.extend(event);
        if call == SocketCall::Listen {
            let ts = self.now();
            self.events.extend(Params::default().i64(0).i64(fd).u32(5).event(ts, tid, LISTEN_X));
        }
    }

    /// A number that no other case has.
    fn container_number(&self) -> u64 {
        self.time / STRETCH * 1000
    }

    fn fd(&mut self) -> i64 {
        self.next_fd += 1;
        self.next_fd
    }

    /// A payload with the container's id, and the zero that ends it.
    fn json(&self, payload: &BTreeMap<String, Value>) -> Vec<u8> {
        let mut object = payload.clone();
        object.insert("container_id".to_owned(), Value::from(self.container.clone()));
        let mut data = serde_json::to_vec(&object).unwrap_or_default();
        data.push(0);
        data
    }
}

/// The kernel keeps 15 bytes of a name.
fn comm(name: &str) -> Vec<u8> {
    name.bytes().take(15).collect()
}

fn cgroups(path: &str) -> Vec<u8> {
    ["cpuset", "cpu", "cpuacct", "io", "memory"]
        .iter()
        .flat_map(|subsystem| format!("{subsystem}={path}\0").into_bytes())
        .collect()
}

/// What `/proc` has of a process in a container with these mounts, as far as drift asks.
fn proc_files(process: &Process, mounts: &[Mount]) -> Vec<(String, String)> {
    let group = process.cgroups.split(|b| *b == 0).next().unwrap_or_default();
    let group = String::from_utf8_lossy(group);
    let group = group.split_once('=').map_or("/", |(_, path)| path);
    let mut table = "100 99 0:50 / / rw,relatime - btrfs /dev/sdb rw\n".to_owned();
    for (i, mount) in mounts.iter().enumerate() {
        // A file system of its own has its root mounted, a directory of the node itself.
        let root = if mount.fs_type == "tmpfs" { "/" } else { &mount.source };
        table.push_str(&format!(
            "{} 100 0:{} {root} {} rw,relatime - {} none rw\n",
            101 + i,
            60 + i,
            mount.target,
            mount.fs_type
        ));
    }
    let dir = format!("proc/{}", process.tid);
    vec![(format!("{dir}/cgroup"), format!("0::{group}\n")), (format!("{dir}/mountinfo"), table)]
}
