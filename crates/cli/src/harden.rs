//! `drift harden`: from what a container really writes, the manifest in which it needs to write nothing.
//!
//! Invariant: a proposal hides no file of the image behind an empty volume, but in directories for temporary
//! files, and says of each thing that it cannot solve why.

use crate::alert::exception::refusal;
use crate::alert::{self, Alert};
use crate::arguments::{Global, Harden};
use crate::containers::{Node, Target};
use crate::explain::quoted;
use crate::fold::is_code;
use crate::json;
use crate::output::printable;
use crate::report::{self, compare, Report};
use crate::style;
use anyhow::{bail, Result};
use drift_core::container::declared::reference::Reference;
use drift_core::image::view::Image;
use drift_core::scan::{FileChange, Limits};
use drift_formats::entry::ImagePath;
use rustix::fs::FileType;
use serde_json::{json, Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

/// Directories for temporary files: what the image has there is not missed. Those that end in `*` are so one
/// level deeper.
const SCRATCH: [&str; 8] =
    ["/tmp", "/var/tmp", "/run", "/var/run", "/dev/shm", "/var/cache/*", "/var/log/*", "/var/spool/*"];

/// Directories in which every image has files.
const SYSTEMS: [&str; 7] = ["/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/root"];

/// Most volumes that are proposed; more than that asks for one volume of one's own design.
const MAX_MOUNTS: usize = 16;
/// Most lines of each other list.
const MAX_LINES: usize = 40;

/// What one container needs.
#[derive(Debug, Default)]
struct Needs {
    /// Name of the container in its pod.
    container: Option<String>,
    /// Namespace, and workload or pod.
    workload: Option<(String, String)>,
    image: Option<String>,
    /// `repository@digest`.
    pinned: Option<String>,
    /// Directory to the bytes that were written there.
    mounts: BTreeMap<String, u64>,
    /// Programs and configuration to copy when the image is built.
    copies: BTreeSet<String>,
    removals: BTreeSet<String>,
    /// By package manager.
    packages: BTreeMap<String, BTreeSet<String>>,
    /// No process holds a capability; `None` where that was not seen.
    without_capabilities: Option<bool>,
    /// What it does not solve.
    notes: BTreeSet<String>,
}

/// Prints what is proposed.
pub(crate) fn run(global: &Global, options: &Harden) -> Result<()> {
    let all = match Path::new(&options.subject) {
        file if file.is_file() => of_alerts(file)?,
        _ => {
            let mut node = Node::open(global, None)?;
            vec![of_container(&node.find(&options.subject)?)?]
        }
    };
    if options.format.is_json() {
        return Ok(json::write(
            &all.iter()
                .map(|needs| {
                    json!({
                        "patch": needs.patch(),
                        "kubectl": needs.kubectl(),
                        "containerfile": needs.containerfile(),
                        "notes": needs.notes,
                    })
                })
                .collect(),
        )?);
    }
    let texts: Vec<String> = all.iter().map(Needs::text).collect();
    Ok(write!(anstream::stdout().lock(), "{}", texts.join("---\n"))?)
}

/// By comparing a container that runs.
fn of_container(target: &Target) -> Result<Needs> {
    let scan = report::open(target, None, Limits::default())?;
    let progress = style::progress(&format!("comparing {}", target.title()));
    let report = compare(target, &scan, false, &mut || {
        progress.inc(1);
        true
    });
    progress.finish_and_clear();
    let image = target.container.image.as_ref().ok();
    let mut needs = Needs {
        container: report.name.name.clone(),
        workload: report.name.pod.clone(),
        image: report.image.clone(),
        pinned: target
            .declared
            .image
            .parsed()
            .zip(target.declared.image.digest())
            .map(|(r, d)| pinned(&r, &d.to_string())),
        without_capabilities: without_capabilities(target),
        ..Needs::default()
    };
    for package in &report.packages {
        for release in &package.new {
            let id = package.id();
            let manager = id.split_once(':').map_or("", |(manager, _)| manager);
            needs.add_package(manager, &package.name, Some(&release.version));
        }
    }
    needs.add_files(&report, image);
    for gap in report.gaps().into_iter().take(MAX_LINES) {
        needs.notes.insert(format!("not compared: {gap}"));
    }
    Ok(needs)
}

fn pinned(reference: &Reference, digest: &str) -> String {
    format!("{}@{digest}", reference.repository)
}

/// Whether no process of a container holds a capability now.
fn without_capabilities(target: &Target) -> Option<bool> {
    let mut seen = None;
    for pid in &target.pids {
        let path = target.host.path(format!("/proc/{pid}/status").as_bytes());
        // Gone: it holds none any more.
        let Ok(status) = std::fs::read_to_string(path) else { continue };
        let mask = status.lines().find_map(|l| l.strip_prefix("CapPrm:"))?;
        let none = u64::from_str_radix(mask.trim(), 16).ok()? == 0;
        seen = Some(seen.unwrap_or(true) && none);
    }
    seen
}

/// By alerts, each workload of each image by itself.
fn of_alerts(file: &Path) -> Result<Vec<Needs>> {
    let mut all: BTreeMap<(String, String), Needs> = BTreeMap::new();
    alert::read(file, &mut |alert| {
        let Some(image) = alert.image().filter(|_| alert.is_drifts()) else { return };
        let key = (alert.workload().unwrap_or_default(), image.clone());
        let needs = all.entry(key).or_insert_with(|| Needs {
            container: alert.name(),
            workload: alert
                .workload()
                .and_then(|w| w.split_once('/').map(|(n, w)| (n.to_owned(), w.to_owned()))),
            image: Some(image),
            ..Needs::default()
        });
        needs.add_alert(&alert);
    })?;
    all.retain(|_, needs| !needs.is_empty() || !needs.notes.is_empty());
    if all.is_empty() {
        bail!("{}: no alert of Drift on files or packages", file.display());
    }
    Ok(all.into_values().collect())
}

impl Needs {
    fn is_empty(&self) -> bool {
        self.mounts.is_empty()
            && self.copies.is_empty()
            && self.removals.is_empty()
            && self.packages.is_empty()
    }

    fn add_files(&mut self, report: &Report, image: Option<&Image>) {
        // A directory of a package manager's is solved with its packages.
        let new: BTreeSet<&[u8]> = report
            .files
            .iter()
            .filter(|f| f.change == FileChange::Created && f.kind == FileType::Directory)
            .map(|f| f.path.as_bytes())
            .collect();
        for f in &report.files {
            let path = f.path.as_bytes();
            if f.covered || f.change == FileChange::Unknown || f.content == "package_db" {
                continue;
            }
            let bytes = f.now.filter(|_| f.kind == FileType::RegularFile).map_or(0, |now| now.size);
            match f.change {
                _ if !self.packages.is_empty() && f.path.is_within(b"/usr") => {
                    self.note("what differs below /usr is taken for the packages' own".to_owned());
                }
                FileChange::Deleted => self.remove(path),
                _ if scratch(path).is_some() && is_code(f) => {
                    self.note(format!(
                        "{} is a program in a scratch directory: find out whose",
                        printable(path)
                    ));
                }
                _ if scratch(path).is_some() => self.mount(scratch(path), bytes, image),
                _ if is_code(f) => self.copy(path),
                FileChange::Created if f.kind == FileType::Directory => {}
                FileChange::Created => {
                    // The uppermost directory that the container made, else the one that it wrote to.
                    let made = directories(path).find(|d| new.contains(d.as_bytes()));
                    let directory = made.or_else(|| directories(path).last());
                    self.mount(directory, bytes, image);
                }
                FileChange::Touched => {
                    let why = "is written to, with the image's content: do it when the image is built";
                    self.note(format!("{} {why}", printable(path)));
                }
                _ => self.copy(path),
            }
        }
    }

    fn add_alert(&mut self, alert: &Alert) {
        let rule = alert.rule.as_str();
        let path = alert.thing().filter(|thing| thing.is_path()).map(|thing| thing.value);
        if let Some(names) = alert.field("drift.pkg_added").or_else(|| alert.field("drift.pkg_upgraded")) {
            let manager = alert.field("drift.pkg_manager").unwrap_or_default();
            for name in names.split(',') {
                self.add_package(&manager, name, None);
            }
            return;
        }
        let Some(path) = path.filter(|path| path.starts_with('/')) else { return };
        if let Some(why) = refusal(alert) {
            return self.note(format!("{}: {why}", printable(path.as_bytes())));
        }
        let path = path.as_bytes();
        if ["executed", "loaded", "execution"].iter().any(|word| rule.contains(word)) {
            self.copy(path);
        } else if rule.contains("deleted") {
            self.remove(path);
        } else if rule.contains("modified") || rule.contains("sensitive directory") {
            self.copy(path);
        } else if rule.contains("write") || rule.contains("own work") {
            let directory = scratch(path).or_else(|| directories(path).last());
            self.mount(directory, 0, None);
        }
    }

    /// A volume for a directory, unless it would hide what the image has there.
    fn mount(&mut self, directory: Option<String>, bytes: u64, image: Option<&Image>) {
        let Some(directory) = directory else {
            return self.note("files are written to / itself: give them a directory".to_owned());
        };
        let is_scratch = scratch(format!("{directory}/x").as_bytes()).as_ref() == Some(&directory);
        let path = ImagePath::from_archive(directory.as_bytes()).ok();
        let is_systems = path.as_ref().is_some_and(|p| SYSTEMS.iter().any(|top| p.is_within(top.as_bytes())));
        if image.is_none() && is_systems {
            let why = "is written to; whether the image has files there only a running container shows";
            return self.note(format!("{} {why}", printable(directory.as_bytes())));
        }
        let listed =
            image.filter(|_| !is_scratch).zip(path).and_then(|(image, p)| image.list(&p, 2).ok().flatten());
        if listed.is_some_and(|names| !names.is_empty()) {
            let why =
                "is written to, and the image has files there: a volume would hide them; write elsewhere";
            return self.note(format!("{} {why}", printable(directory.as_bytes())));
        }
        if let Some((_, known)) =
            self.mounts.iter_mut().find(|(d, _)| directory == **d || directory.starts_with(&format!("{d}/")))
        {
            *known += bytes;
            return;
        }
        let below: Vec<String> =
            self.mounts.keys().filter(|d| d.starts_with(&format!("{directory}/"))).cloned().collect();
        let below: u64 = below.iter().filter_map(|d| self.mounts.remove(d)).sum();
        if self.mounts.len() >= MAX_MOUNTS {
            return self.note(format!("more than {MAX_MOUNTS} directories are written to"));
        }
        self.mounts.insert(directory, below + bytes);
    }

    fn copy(&mut self, path: &[u8]) {
        if self.copies.len() < MAX_LINES {
            self.copies.insert(printable(path));
        } else {
            self.note("more files than are listed".to_owned());
        }
    }

    fn remove(&mut self, path: &[u8]) {
        if self.removals.len() < MAX_LINES {
            self.removals.insert(printable(path));
        }
    }

    fn note(&mut self, text: String) {
        if self.notes.len() < MAX_LINES {
            self.notes.insert(text);
        }
    }

    fn add_package(&mut self, manager: &str, name: &str, version: Option<&str>) {
        let of_manager = self.packages.entry(manager.to_owned()).or_default();
        if of_manager.len() < MAX_LINES {
            let (between, version) = match (manager, version) {
                (_, None) => ("", ""),
                ("pip", Some(v)) => ("==", v),
                ("npm", Some(v)) => ("@", v),
                ("rpm", Some(v)) => ("-", v),
                (_, Some(v)) => ("=", v),
            };
            of_manager.insert(printable(format!("{name}{between}{version}").as_bytes()));
        }
    }

    /// A strategic merge patch of a Deployment, StatefulSet or DaemonSet.
    fn patch(&self) -> Value {
        let volumes: Vec<(&String, String, u64)> = self
            .mounts
            .iter()
            .enumerate()
            // The number tells directories apart whose names are alike in letters and digits.
            .map(|(i, (directory, bytes))| (directory, volume_name(i, directory), *bytes))
            .collect();
        let mut security = Map::new();
        security.insert("readOnlyRootFilesystem".into(), true.into());
        security.insert("allowPrivilegeEscalation".into(), false.into());
        if self.without_capabilities == Some(true) {
            security.insert("capabilities".into(), json!({"drop": ["ALL"]}));
        }
        let mut container = Map::new();
        container.insert("name".into(), self.container.as_deref().unwrap_or("CONTAINER").into());
        container.extend(self.pinned.as_ref().map(|image| ("image".to_owned(), image.as_str().into())));
        container.insert("securityContext".into(), security.into());
        let mut spec = Map::new();
        if !volumes.is_empty() {
            let mounts = volumes.iter().map(|(d, name, _)| json!({"name": name, "mountPath": d}));
            container.insert("volumeMounts".into(), mounts.collect());
            let all = volumes.iter();
            let all = all.map(|(_, name, n)| json!({"name": name, "emptyDir": {"sizeLimit": limit(*n)}}));
            spec.insert("volumes".into(), all.collect());
        }
        spec.insert("containers".into(), json!([container]));
        json!({"spec": {"template": {"spec": spec}}})
    }

    fn kubectl(&self) -> Option<String> {
        let (namespace, workload) = self.workload.as_ref()?;
        Some(format!(
            "kubectl --namespace {} patch deployment {} --patch {}",
            quoted(namespace),
            quoted(workload),
            quoted(&self.patch().to_string())
        ))
    }

    /// The lines with which what differs would be part of the image.
    fn containerfile(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (manager, packages) in &self.packages {
            let all: Vec<&str> = packages.iter().map(String::as_str).collect();
            let all = all.join(" ");
            lines.push(match manager.as_str() {
                "dpkg" | "apt" | "apt-get" => format!(
                    "RUN apt-get update && apt-get install --yes --no-install-recommends {all} && \
                     rm -rf /var/lib/apt/lists/*"
                ),
                "apk" => format!("RUN apk add --no-cache {all}"),
                "rpm" | "dnf" | "yum" | "microdnf" => {
                    format!("RUN dnf install --assumeyes {all} && dnf clean all")
                }
                "pip" | "pip3" => format!("RUN pip install --no-cache-dir {all}"),
                "npm" => format!("RUN npm install --global {all}"),
                "gem" => format!("RUN gem install {all}"),
                other => format!("# {}: {all}", printable(other.as_bytes())),
            });
        }
        let copy = |path: &String| format!("COPY .{path} {path}");
        lines.extend(self.copies.iter().map(copy));
        if !self.removals.is_empty() {
            let all: Vec<&str> = self.removals.iter().map(String::as_str).collect();
            lines.push(format!("RUN rm -rf {}", all.join(" ")));
        }
        lines
    }

    fn text(&self) -> String {
        let mut out = String::new();
        if let Some(image) = &self.image {
            out += &format!("# Image {}\n", printable(image.as_bytes()));
        }
        match &self.workload {
            Some((namespace, workload)) => {
                let (namespace, workload) = (quoted(namespace), quoted(workload));
                out += &format!(
                    "# As a file: kubectl --namespace {namespace} patch deployment {workload} \
                     --patch-file harden.yaml\n"
                );
            }
            None => {
                let tmpfs = self.mounts.iter().map(|(d, bytes)| {
                    let size = limit(*bytes).replace("Mi", "m");
                    format!(" --tmpfs {}", quoted(&format!("{d}:size={size}")))
                });
                out += &format!("# podman or docker: run --read-only{}\n", tmpfs.collect::<String>());
            }
        }
        out += &yaml(&self.patch(), 0);
        let lines = self.containerfile();
        if !lines.is_empty() {
            out += "# For what is meant to be there, when the image is built (see drift diff --tar):\n";
            lines.iter().for_each(|line| out += &format!("#   {line}\n"));
        }
        if self.without_capabilities == Some(false) {
            out += "# Its processes hold capabilities: drop those that the program does not need.\n";
        }
        self.notes.iter().for_each(|note| out += &format!("# {note}\n"));
        out
    }
}

/// Name of the volume for a directory: a DNS label.
fn volume_name(number: usize, directory: &str) -> String {
    let letters = directory.trim_matches('/').chars().map(|c| match c.is_ascii_alphanumeric() {
        true => c.to_ascii_lowercase(),
        false => '-',
    });
    let name = format!("drift-{number}-{}", letters.take(40).collect::<String>());
    name.trim_end_matches('-').to_owned()
}

/// The directory for temporary files that a path is in.
fn scratch(path: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(path).ok()?;
    SCRATCH.iter().find_map(|directory| match directory.strip_suffix('*') {
        None => path.strip_prefix(directory)?.starts_with('/').then(|| (*directory).to_owned()),
        Some(above) => {
            let (name, _) = path.strip_prefix(above)?.split_once('/')?;
            Some(format!("{above}{name}"))
        }
    })
}

/// The directories above a path, the uppermost first; those that are no text are left out.
fn directories(path: &[u8]) -> impl Iterator<Item = String> + '_ {
    let ends = path.iter().enumerate().filter(|(i, b)| **b == b'/' && *i > 0).map(|(i, _)| i);
    ends.filter_map(|end| std::str::from_utf8(path.get(..end)?).ok().map(str::to_owned))
}

/// A limit that leaves room: four times what is there, in powers of two of 16 MiB.
fn limit(bytes: u64) -> String {
    let mib = (bytes.saturating_mul(4) >> 20).max(16);
    format!("{}Mi", mib.next_power_of_two())
}

/// JSON laid out as YAML: mappings and sequences as blocks, texts in quotes.
fn yaml(value: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let scalar = |value: &Value| match value {
        Value::Object(_) | Value::Array(_) => None,
        // YAML reads a text in JSON's quotes as JSON does.
        other => Some(other.to_string()),
    };
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| match scalar(value) {
                Some(text) => format!("{indent}{key}: {text}\n"),
                None => format!("{indent}{key}:\n{}", yaml(value, depth + 1)),
            })
            .collect(),
        Value::Array(all) => all
            .iter()
            .map(|value| match scalar(value) {
                Some(text) => format!("{indent}- {text}\n"),
                None => {
                    let block = yaml(value, depth + 1);
                    let first = block.strip_prefix(&format!("{indent}  ")).unwrap_or(&block).to_owned();
                    format!("{indent}- {first}")
                }
            })
            .collect(),
        other => format!("{indent}{other}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::tests::alert;

    #[test]
    fn a_patch_is_yaml() {
        let mut needs = Needs {
            container: Some("app".into()),
            workload: Some(("shop".into(), "web".into())),
            pinned: Some("registry.example/shop@sha256:0".into()),
            without_capabilities: Some(true),
            ..Needs::default()
        };
        needs.mount(Some("/var/lib/app".into()), 5 << 20, None);
        needs.mount(Some("/var/lib/app/sub".into()), 1 << 20, None);
        needs.mount(Some("/tmp".into()), 0, None);
        needs.copy(b"/opt/it's");
        let text = needs.text();
        let read = drift_formats::yaml::parse(&text).unwrap();
        assert_eq!(read, needs.patch(), "{text}");
        let spec = &read["spec"]["template"]["spec"];
        assert_eq!(spec["containers"][0]["volumeMounts"].as_array().unwrap().len(), 2);
        assert_eq!(spec["volumes"][1]["emptyDir"]["sizeLimit"], "32Mi");
        assert!(text.contains("COPY ./opt/it's /opt/it's"), "{text}");
        assert!(needs
            .kubectl()
            .unwrap()
            .starts_with("kubectl --namespace shop patch deployment web --patch '{"));
    }

    #[test]
    fn volumes_are_for_temporary_files() {
        for (path, directory) in [
            ("/tmp/a/b", Some("/tmp")),
            ("/tmpfile", None),
            ("/var/log/app/x.log", Some("/var/log/app")),
            ("/var/log/x.log", None),
            ("/run/x", Some("/run")),
            ("/etc/x", None),
        ] {
            assert_eq!(scratch(path.as_bytes()).as_deref(), directory, "{path}");
        }
    }

    #[test]
    fn limits_leave_room() {
        for (bytes, text) in [(0, "16Mi"), (4 << 20, "16Mi"), (5 << 20, "32Mi"), (1 << 30, "4096Mi")] {
            assert_eq!(limit(bytes), text);
        }
    }

    #[test]
    fn alerts_say_what_a_workload_needs() {
        let fields = |path: &str| json!({"drift.file_path": path, "drift.image": "shop:1"});
        let mut needs = Needs::default();
        for (rule, path) in [
            ("Drift container file system write", "/srv/data/x"),
            ("Drift binary executed", "/opt/helper"),
            ("Drift image file deleted", "/usr/bin/tty"),
        ] {
            needs.add_alert(&alert(rule, "Warning", fields(path)));
        }
        let added =
            json!({"drift.pkg_added": ["jq", "curl"], "drift.pkg_manager": "apt", "drift.image": "shop:1"});
        needs.add_alert(&alert("Drift package manager changed container", "Error", added));
        assert!(needs.mounts.contains_key("/srv/data"));
        assert_eq!(
            needs.containerfile(),
            [
                "RUN apt-get update && apt-get install --yes --no-install-recommends curl jq && \
                 rm -rf /var/lib/apt/lists/*",
                "COPY ./opt/helper /opt/helper",
                "RUN rm -rf /usr/bin/tty"
            ]
        );
    }
}
