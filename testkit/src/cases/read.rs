//! Cases out of their YAML.

use std::collections::BTreeMap;

use anyhow::{anyhow, bail, Context, Result};
use serde_json::Value;

use super::{Actor, By, Case, Happening, KernelCall, Mount, Place, SocketCall};
use crate::yaml::Node;

pub(super) fn case(name: &str, item: &Node) -> Result<Case> {
    only(item, &["case", "rule", "alerts", "container", "image", "age", "mounts", "events"])?;
    let rule = text(item, "rule")?.ok_or_else(|| anyhow!("`rule` is missing"))?;
    let alerts = flag(item, "alerts")?.ok_or_else(|| anyhow!("`alerts` is missing"))?;
    let mounts = list(item.get("mounts"))?.iter().map(mount).collect::<Result<_>>().context("mounts")?;
    let events: Vec<Happening> = list(item.get("events"))?
        .iter()
        .enumerate()
        .map(|(i, event)| happening(event).with_context(|| format!("event {}", i + 1)))
        .collect::<Result<_>>()?;
    if events.is_empty() {
        bail!("nothing happens");
    }
    let age = number(item, "age")?.unwrap_or(3600);
    let container = text(item, "container")?.map(str::to_owned);
    let image = text(item, "image")?.unwrap_or("registry.example/shop/web:1.4").to_owned();
    Ok(Case { name: name.to_owned(), rule: rule.to_owned(), alerts, container, image, age, mounts, events })
}

fn mount(item: &Node) -> Result<Mount> {
    only(item, &["target", "source", "type"])?;
    let of = |key| text(item, key)?.map(str::to_owned).ok_or_else(|| anyhow!("`{key}` is missing"));
    Ok(Mount { target: of("target")?, source: of("source")?, fs_type: of("type")? })
}

/// Keys that describe a process.
const ACTOR: [&str; 14] = [
    "file", "layer", "ino", "under", "outside", "first", "below", "env", "tty", "uid", "as", "executed",
    "stdin", "stdout",
];

fn happening(event: &Node) -> Result<Happening> {
    let Node::Map(pairs) = event else { bail!("an event is a map") };
    let (kind, _) = pairs.first().ok_or_else(|| anyhow!("an event is empty"))?;
    match kind.as_str() {
        "exec" => {
            only(event, &[&["exec"], &ACTOR[..]].concat())?;
            Ok(Happening::Exec(Box::new(actor("exec", event)?)))
        }
        "refused" => {
            only(event, &[&["refused", "by", "process"], &ACTOR[..]].concat())?;
            Ok(Happening::Refused { by: by(event)?, path: word(event, "refused")? })
        }
        "open" => {
            only(event, &[&["open", "by", "process", "write", "create", "inode"], &ACTOR[..]].concat())?;
            let create = flag(event, "create")?.unwrap_or(false);
            Ok(Happening::Open {
                by: by(event)?,
                path: word(event, "open")?,
                write: flag(event, "write")?.unwrap_or(false) || create,
                create,
                ino: number(event, "inode")?.unwrap_or(0),
            })
        }
        "bind" | "listen" | "connect" | "accept" => {
            only(event, &[&[kind, "by", "process"], &ACTOR[..]].concat())?;
            let call = match kind.as_str() {
                "bind" => SocketCall::Bind,
                "listen" => SocketCall::Listen,
                "connect" => SocketCall::Connect,
                _ => SocketCall::Accept,
            };
            let (address, port, udp) = socket(&word(event, kind)?)?;
            Ok(Happening::Socket { by: by(event)?, call, address, port, udp })
        }
        "mount" => {
            only(event, &[&["mount", "by", "process"], &ACTOR[..]].concat())?;
            Ok(Happening::Mount { by: by(event)?, target: word(event, "mount")? })
        }
        "call" => {
            only(event, &[&["call", "by", "process"], &ACTOR[..]].concat())?;
            let call = match word(event, "call")?.as_str() {
                "ptrace-peek" => KernelCall::Ptrace(2),
                "ptrace-poke" => KernelCall::Ptrace(5),
                "process_vm_writev" => KernelCall::ProcessVmWritev,
                "socket-inet" => KernelCall::Socket(2),
                "socket-alg" => KernelCall::Socket(38),
                "io_uring" => KernelCall::IoUring(7),
                "io_uring-refused" => KernelCall::IoUring(-1),
                other => bail!("{other:?} is no call that cases have"),
            };
            Ok(Happening::Call { by: by(event)?, call })
        }
        "told" => {
            only(event, &[&["told", "payload", "by", "process"], &ACTOR[..]].concat())?;
            Ok(Happening::Told {
                by: by(event)?,
                name: word(event, "told")?,
                payload: payload(event, "payload")?,
            })
        }
        "found" => {
            only(event, &["found"])?;
            Ok(Happening::Source(payload(event, "found")?))
        }
        other => bail!(
            "{other:?} is none of exec, refused, open, bind, listen, connect, accept, mount, call, told, \
             found"
        ),
    }
}

fn by(event: &Node) -> Result<By> {
    match text(event, "process")? {
        Some(label) => Ok(By::Known(label.to_owned())),
        None => Ok(By::New(Box::new(actor("by", event)?))),
    }
}

fn actor(key: &str, event: &Node) -> Result<Actor> {
    // Words are separated by blanks; a list holds words with blanks in them.
    let argv: Vec<String> = match event.get(key) {
        Some(Node::Text(line)) => line.split_whitespace().map(str::to_owned).collect(),
        given => texts(given)?,
    };
    let argv = if argv.is_empty() { vec!["app".to_owned()] } else { argv };
    let named = argv.first().cloned().unwrap_or_default();
    let file = match text(event, "file")? {
        Some(file) => file.to_owned(),
        None if named.starts_with('/') => named,
        None => format!("/usr/bin/{named}"),
    };
    let layer = match text(event, "layer")? {
        None | Some("image") => Place::Image,
        Some("upper") => Place::Upper,
        Some("elsewhere") => Place::Elsewhere,
        Some("memory") => Place::Memory,
        Some(other) => bail!("layer {other:?} is none of image, upper, elsewhere, memory"),
    };
    let under = match event.get("under") {
        None => vec!["sh".to_owned()],
        given => texts(given)?,
    };
    let small = |key| -> Result<u32> {
        u32::try_from(number(event, key)?.unwrap_or(0)).map_err(|_| anyhow!("`{key}` is too large"))
    };
    Ok(Actor {
        argv,
        file,
        layer,
        ino: number(event, "ino")?.unwrap_or(0),
        under,
        is_first: flag(event, "first")?.unwrap_or(false),
        below: text(event, "below")?.map(str::to_owned),
        from_outside: flag(event, "outside")?.unwrap_or(false),
        env: texts(event.get("env")).context("env")?,
        tty: small("tty")?,
        uid: small("uid")?,
        pipes: (small("stdin")?, small("stdout")?),
        executed: text(event, "executed")?.map(str::to_owned),
        label: text(event, "as")?.map(str::to_owned),
    })
}

/// `127.0.0.1:4444/tcp`.
fn socket(text: &str) -> Result<([u8; 4], u16, bool)> {
    let read = || -> Option<([u8; 4], u16, bool)> {
        let (address, protocol) = text.split_once('/')?;
        let address: std::net::SocketAddrV4 = address.parse().ok()?;
        let udp = match protocol {
            "tcp" => false,
            "udp" => true,
            _ => return None,
        };
        Some((address.ip().octets(), address.port(), udp))
    };
    read().ok_or_else(|| anyhow!("{text:?} is no socket such as 127.0.0.1:4444/tcp"))
}

fn payload(event: &Node, key: &str) -> Result<BTreeMap<String, Value>> {
    match event.get(key) {
        Some(Node::Map(pairs)) => Ok(pairs.iter().map(|(k, v)| (k.clone(), json(v))).collect()),
        _ => bail!("`{key}` is no map"),
    }
}

/// A node as JSON; a scalar that reads as a truth value or a number is one.
fn json(node: &Node) -> Value {
    match node {
        Node::Null => Value::Null,
        Node::Text(text) => match text.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            text => text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from),
        },
        Node::List(items) => items.iter().map(json).collect(),
        Node::Map(pairs) => Value::Object(pairs.iter().map(|(k, v)| (k.clone(), json(v))).collect()),
    }
}

/// A misspelt key must not read as one that is left out.
fn only(node: &Node, keys: &[&str]) -> Result<()> {
    let Node::Map(pairs) = node else { bail!("not a map: {node:?}") };
    match pairs.iter().find(|(key, _)| !keys.contains(&key.as_str())) {
        Some((key, _)) => bail!("`{key}` is none of {}", keys.join(", ")),
        None => Ok(()),
    }
}

fn text<'a>(node: &'a Node, key: &str) -> Result<Option<&'a str>> {
    match node.get(key) {
        None => Ok(None),
        Some(Node::Text(text)) => Ok(Some(text)),
        Some(other) => bail!("`{key}` is {other:?}, not text"),
    }
}

fn word(node: &Node, key: &str) -> Result<String> {
    text(node, key)?.map(str::to_owned).ok_or_else(|| anyhow!("`{key}` is missing"))
}

fn flag(node: &Node, key: &str) -> Result<Option<bool>> {
    match text(node, key)? {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => bail!("`{key}` is {other:?}, not true or false"),
    }
}

fn number(node: &Node, key: &str) -> Result<Option<u64>> {
    let read = |text: &str| text.parse().map_err(|_| anyhow!("`{key}` is {text:?}, not a number"));
    text(node, key)?.map(read).transpose()
}

fn list(node: Option<&Node>) -> Result<&[Node]> {
    match node {
        None => Ok(&[]),
        Some(Node::List(items)) => Ok(items),
        Some(other) => bail!("{other:?} is not a list"),
    }
}

fn texts(node: Option<&Node>) -> Result<Vec<String>> {
    let text = |n: &Node| n.text().map(str::to_owned).ok_or_else(|| anyhow!("{n:?} is not text"));
    list(node)?.iter().map(text).collect()
}
