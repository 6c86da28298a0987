//! Cases of rules as data: what happens in a container, written down in YAML, made into a capture that real
//! engines replay. `rules/tests/README.md` says how a case is written.
//!
//! A case has a container, processes and a stretch of time of its own, so that all cases of a file are one
//! capture and each alert belongs to the case in whose time it falls.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{anyhow, bail, Context, Result};
use serde_json::Value;

use crate::yaml::{self, Node};

mod capture;
mod read;

pub use capture::{Capture, SOURCE_PLUGIN};

/// One case.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// What it is, in words; unique in its file.
    pub name: String,
    /// The rule that it is about.
    pub rule: String,
    /// Whether that rule alerts.
    pub alerts: bool,
    /// The container's id, where one is wanted.
    pub container: Option<String>,
    /// Reference of its image.
    pub image: String,
    /// How old the container is, seconds.
    pub age: u64,
    /// Mounts beside the root, for what lies on volumes.
    pub mounts: Vec<Mount>,
    /// What happens, in order.
    pub events: Vec<Happening>,
}

/// A mount in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where, in the container.
    pub target: String,
    /// The directory, as the host names it.
    pub source: String,
    /// Type of the file system.
    pub fs_type: String,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Its arguments.
    pub argv: Vec<String>,
    /// Its executable.
    pub file: String,
    /// Where that lies.
    pub layer: Place,
    /// Inode number of the executable; by this a file that was written is known again when it runs.
    pub ino: u64,
    /// Names of its ancestors in the container, nearest first.
    pub under: Vec<String>,
    /// It is the container's first process.
    pub is_first: bool,
    /// The label of the process that it is started by, instead of `under`.
    pub below: Option<String>,
    /// Started by the runtime from outside (exec, attach), by no process of the container.
    pub from_outside: bool,
    /// Environment beside `PATH`.
    pub env: Vec<String>,
    /// Number of its terminal, 0 for none.
    pub tty: u32,
    /// User.
    pub uid: u32,
    /// Numbers of pipes on its standard input and output; 0 for none.
    pub pipes: (u32, u32),
    /// What was executed, where that is no program but a script that it interprets.
    pub executed: Option<String>,
    /// What later events name it by, for those that it goes on to do.
    pub label: Option<String>,
}

/// Where an executable lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a layer of the image.
    Image,
    /// In the container's writable layer.
    Upper,
    /// On no overlay.
    Elsewhere,
    /// In memory.
    Memory,
}

/// Who does something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// A process that has not been told of.
    New(Box<Actor>),
    /// The process with this label.
    Known(String),
}

/// What is done with a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketCall {
    /// It is bound.
    Bind,
    /// It is bound and listened on.
    Listen,
    /// It is connected.
    Connect,
    /// A connection is taken.
    Accept,
}

/// A system call that has its name and little else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelCall {
    /// ptrace(2), with this request (`PPM_PTRACE_*`).
    Ptrace(u16),
    /// process_vm_writev(2).
    ProcessVmWritev,
    /// A socket of this family is made.
    Socket(u32),
    /// io_uring_setup(2), with this result.
    IoUring(i64),
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// A process executes a program.
    Exec(Box<Actor>),
    /// A process executes a file whose format the kernel does not know.
    Refused {
        /// Who.
        by: By,
        /// Which.
        path: String,
    },
    /// A process opens a file.
    Open {
        /// Who.
        by: By,
        /// Which.
        path: String,
        /// Whether it may write.
        write: bool,
        /// Whether it made the file.
        create: bool,
        /// Inode number of the file.
        ino: u64,
    },
    /// A process does something with a socket.
    Socket {
        /// Who.
        by: By,
        /// What.
        call: SocketCall,
        /// IPv4 address: its own, or of `Connect` and `Accept` the other side's.
        address: [u8; 4],
        /// Port: of the server.
        port: u16,
        /// UDP, not TCP.
        udp: bool,
    },
    /// A process mounts something.
    Mount {
        /// Who.
        by: By,
        /// Where.
        target: String,
    },
    /// A process makes another system call.
    Call {
        /// Who.
        by: By,
        /// Which.
        call: KernelCall,
    },
    /// Drift tells something by an event of its own.
    Told {
        /// The thread it is about.
        by: By,
        /// Name of the event.
        name: String,
        /// Payload without the container's id, which is put in.
        payload: BTreeMap<String, Value>,
    },
    /// An event of the source `drift`.
    Source(BTreeMap<String, Value>),
}

/// Reads a file of cases.
///
/// # Errors
/// It cannot be read or has what no case has; the error names the case.
pub fn load(path: &Path) -> Result<Vec<Case>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

/// Like [`load`] for text in memory.
///
/// # Errors
/// As [`load`], without the file's name.
pub fn parse(text: &str) -> Result<Vec<Case>> {
    let items = match yaml::parse(text)? {
        Node::List(items) => items,
        _ => bail!("a file of cases is a list of `- case:` items"),
    };
    let mut cases: Vec<Case> = Vec::new();
    for item in &items {
        let name = item.get("case").and_then(Node::text).ok_or_else(|| anyhow!("an item has no `case`"))?;
        let case = read::case(name, item).with_context(|| format!("case {name:?}"))?;
        if cases.iter().any(|known| known.name == case.name) {
            bail!("case {name:?} is in the file twice");
        }
        cases.push(case);
    }
    Ok(cases)
}

#[cfg(test)]
mod tests;
