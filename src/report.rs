//! Drift's own events: how what the background found is told to the engine.
//!
//! A payload is a JSON object whose keys are names of fields without `drift.`, so that the fields of such an event are read
//! from it alone ([`crate::extract`]). Values of environment variables and contents of files are in none.

use crate::plugin::Drift;
use crate::resolver::{Provenance, Resolver};
use crate::workers::declarer::ContainerReport;
use crate::workers::early_ports::EarlyPort;
use crate::workers::files::{FileReport, Tampering};
use crate::workers::libraries::LibraryReport;
use crate::workers::network::PeerReport;
use crate::workers::packages::PackageReport;
use crate::workers::verifier::Finding;
use drift_core::network::baseline::Shown;
use drift_core::verdict::change::Change;
use drift_core::verdict::origin::Origin;
use drift_formats::bytes::hex;
use drift_formats::digest::Digest;
use drift_formats::entry::ImagePath;
use drift_formats::ports::Ports;
use falco_plugin::async_event::{AsyncEventPlugin, AsyncHandler};
use std::ffi::CString;
use std::sync::atomic::Ordering;

/// Payload of the event `drift_binary`.
pub fn binary_payload(finding: &Finding) -> serde_json::Value {
    serde_json::json!({
        "container_id": finding.container,
        "image": known(finding.image.as_deref()),
        "binary_origin": finding.origin.map(|o| o.as_str()),
        "binary_layer": finding.layer,
        "binary_package": finding.package,
        "binary_sha256": finding.sha256.as_ref().map(|d| hex(d)),
        "file_path": finding.path.as_ref().map(text),
    })
}

/// Payload of the event `drift_file`.
pub fn file_payload(change: &FileReport) -> serde_json::Value {
    serde_json::json!({
        "container_id": change.container,
        "image": known(change.image.as_deref()),
        "file_path": text(&change.path),
        "file_new_path": change.new_path.as_ref().map(text),
        "file_origin": change.origin.as_str(),
        "file_change": change.change.as_str(),
        "file_kind": change.kind,
        "file_package": change.package,
        "binary_traits": change.gained,
        "binary_origin": change.writer.origin.map(|o| o.as_str()),
        "binary_writer": &*change.writer.command,
        "file_writer": &*change.writer.command,
        "file_writer_pid": change.writer.pid,
        "file_provenance": file_provenance(change).to_string(),
        "file_work": change.writer.work.map(|work| work.to_string()),
        "container_drifts": change.drifts,
        "pkg_manager": change.writer.manager.map(|manager| manager.as_str()),
    })
}

/// Payload of the event `drift_secret`.
pub fn secret_payload(tampering: &Tampering) -> serde_json::Value {
    let writer = &tampering.writer;
    serde_json::json!({
        "container_id": tampering.container.id,
        "image": known(tampering.container.declaration.reference().as_deref()),
        "file_path": text(&tampering.path),
        "file_new_path": tampering.new_path.as_ref().map(text),
        "file_change": tampering.change,
        "volume_kind": tampering.volume.as_str(),
        "process_cmdline": &*writer.command,
        "binary_origin": writer.origin.map(|origin| origin.as_str()),
    })
}

/// Payload of the event `drift_container`.
pub fn container_payload(report: &ContainerReport) -> serde_json::Value {
    let digest = |digest: Option<Digest>| digest.map_or("unknown".to_owned(), |d| d.to_string());
    serde_json::json!({
        "container_id": report.container.id,
        "image": known(report.image.identity.reference.as_deref()),
        "image_id": digest(report.image.identity.id),
        "image_digest": digest(report.image.digest),
        "image_pinned": report.image.pinned,
        "image_approved": report.approval.map(|a| a.as_str()),
        "runtime_overrides": report.declared.overrides,
        "entrypoint_match": report.entrypoint_match,
        "rootfs_readonly": report.container.live.as_ref().map(|l| l.read_only),
        // For replays of the capture: what package managers do to it is told by events of their own.
        "pkg_followed": Resolver::can_follow(&report.container),
    })
}

/// Payload of the event `drift_port`.
pub fn port_payload(opened: &EarlyPort) -> serde_json::Value {
    let port = Ports { protocol: opened.protocol, first: opened.port, last: opened.port };
    serde_json::json!({
        "container_id": opened.container.id,
        "image": known(opened.container.declaration.reference().as_deref()),
        "port": port.to_string(),
        "port_declared": false,
        "port_new": true,
        "process_cmdline": &*opened.command,
        "binary_origin": opened.origin.map(|origin| origin.as_str()),
    })
}

/// Payload of the event `drift_peer`.
pub fn peer_payload(report: &PeerReport) -> serde_json::Value {
    let peer = &report.early.peer;
    let image = report.early.container.declaration.image.load();
    serde_json::json!({
        "container_id": report.early.container.id,
        "image": image.as_ref().and_then(|image| image.identity.reference.as_deref()).unwrap_or("unknown"),
        "peer": Shown { address: peer.address, port: peer.port, protocol: Some(peer.protocol) }.to_string(),
        "peer_direction": peer.direction.as_str(),
        "peer_name": peer.name.as_deref(),
        "peer_expected": report.opinion.expected.as_str(),
        "peer_baseline": report.opinion.origin.map(|o| o.as_str()),
        "peer_new": true,
    })
}

/// Payload of the event `drift_library`.
pub fn library_payload(library: &LibraryReport) -> serde_json::Value {
    let job = &library.job;
    let provenance = match (library.origin, &job.written) {
        (Origin::Memfd, _) => Provenance::Memory,
        (Origin::Volume | Origin::Tmpfs, _) => Provenance::Volume,
        (_, Some(written)) => written.manager.map_or(Provenance::Written, Provenance::Package),
        (_, None) => Provenance::Unknown,
    };
    serde_json::json!({
        "container_id": job.container.id,
        "image": known(job.container.declaration.reference().as_deref()),
        "container_drifts": job.container.drifts.load(Ordering::Relaxed),
        "file_path": text(&library.path),
        "file_origin": library.origin.as_str(),
        "file_kind": "elf_shared",
        "file_package": library.package,
        "file_writer": job.written.as_ref().map(|w| &*w.command),
        "file_provenance": provenance.to_string(),
        "file_work": job.written.as_ref().and_then(|w| w.work).map(|work| work.to_string()),
        "volume_kind": library.volume.map(|kind| kind.as_str()),
        "binary_origin": job.binary_origin.map(|o| o.as_str()),
        "process_cmdline": &*job.command,
    })
}

/// Payload of the event `drift_packages`.
pub fn packages_payload(report: &PackageReport) -> serde_json::Value {
    let PackageReport { container, agent, effect, drifts } = report;
    let action = effect.action.or(agent.action.filter(|action| action.changes()));
    // What was done; of an attempt, what was to be.
    let names: Vec<&str> = match effect.names.is_empty() {
        false => effect.names.iter().map(String::as_str).collect(),
        true => agent.names.iter().map(|name| &**name).collect(),
    };
    let facts = container.declaration.image.load_full();
    let (provenance, writer) = agent.provenance.clone().unzip();
    serde_json::json!({
        "container_id": container.id,
        "container_drifts": drifts,
        "image": facts.and_then(|facts| facts.identity.reference.clone()).unwrap_or_else(|| "unknown".into()),
        "pkg_manager": agent.manager.map_or("unknown", |manager| manager.as_str()),
        "pkg_action": action.map(|action| action.as_str()),
        "pkg_names": names,
        "pkg_followed": agent.followed || agent.manager.is_none(),
        "pkg_effect": effect.to_string(),
        "pkg_added": effect.added,
        "pkg_removed": effect.removed,
        "pkg_upgraded": effect.upgraded,
        "pkg_reinstalled": effect.reinstalled,
        "pkg_command": (!agent.command.is_empty()).then_some(&*agent.command),
        "pkg_pcommand": agent.parent_command,
        "pkg_ancestors": agent.ancestors,
        "pkg_uid": agent.user,
        "binary_origin": agent.origin.map(|origin| origin.as_str()),
        "binary_provenance": provenance,
        "binary_writer": writer.flatten().map(|writer| writer.chars().take(1024).collect::<String>()),
    })
}

/// Where a changed file comes from.
fn file_provenance(change: &FileReport) -> Provenance {
    match (change.change, change.writer.manager) {
        // The content is the image's.
        (Change::Metadata | Change::Deleted | Change::Renamed | Change::None, _) => Provenance::Image,
        (_, Some(manager)) => Provenance::Package(manager),
        (_, None) => Provenance::Written,
    }
}

/// What applies and is not known says so.
fn known(text: Option<&str>) -> &str {
    text.unwrap_or("unknown")
}

fn text(path: &ImagePath) -> String {
    String::from_utf8_lossy(path.as_bytes()).into_owned()
}

/// Sends an event. The thread id is set, so that `proc.*` fields resolve.
///
/// # Errors
/// The engine's: it refuses events while it shuts down.
pub fn send(
    handler: &AsyncHandler,
    name: &str,
    tid: i64,
    payload: &serde_json::Value,
) -> Result<(), anyhow::Error> {
    let name = CString::new(name)?;
    // The container plugin ends its JSON with a NUL, and consumers expect one.
    let data = CString::new(payload.to_string())?;
    let mut event = <Drift as AsyncEventPlugin>::async_event(&name, data.as_bytes_with_nul());
    event.metadata.tid = tid;
    handler.emit(event)
}
