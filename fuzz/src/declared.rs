//! What is configured and declared: drift's own settings, runtimes' state, image configurations,
//! environments.

use super::parts;
use drift::config::{Config, InitConfig};
use drift::source::params::Params;
use drift_core::container::declared::containerd::{self, chain_id};
use drift_core::container::declared::docker::{self, DockerContainer, HostConfig};
use drift_core::container::declared::environment::{is_cut, Environment, Variables};
use drift_core::container::declared::overrides::{overrides, Known};
use drift_core::container::declared::reference::Reference;
use drift_core::container::declared::spec::RunSpec;
use drift_core::container::declared::{libpod, storage};
use drift_core::policy::approved;
use drift_core::verdict::environment::{judge, Files, Place, Subject};
use drift_formats::bolt;
use drift_formats::digest::Digest;
use drift_formats::image_config::ImageConfig;
use drift_formats::ports::{of_annotation, Ports};
use std::io::Write;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// `init_config`, and the open parameters of the source `drift`.
pub fn config(bytes: &[u8]) {
    if let Ok(InitConfig(raw)) = serde_json::from_slice(bytes) {
        if let Err(refused) = Config::try_from(raw) {
            assert!(!refused.to_string().is_empty());
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Params::parse(text);
    }
}

/// A file of approved images: a list, or Kubernetes manifests where it begins with `y`.
pub fn approved(bytes: &[u8]) {
    let (suffix, bytes) = match bytes.split_first() {
        Some((b'y', rest)) => (".yaml", rest),
        _ => (".txt", bytes),
    };
    let mut file = tempfile::Builder::new().suffix(suffix).tempfile_in(super::files::memory()).unwrap();
    file.write_all(bytes).unwrap();
    let _ = approved::load(&[file.path().to_owned()]);
    if let Some(reference) = std::str::from_utf8(bytes).ok().and_then(Reference::parse) {
        assert!(!reference.repository.is_empty());
    }
}

/// State files of runtimes, all of them JSON; what declares an image comes second.
pub fn state(bytes: &[u8]) {
    let [state, image] = parts(bytes);
    let image = ImageConfig::parse(image).ok();
    if let Some(image) = &image {
        let _ = chain_id(image);
    }
    if let Ok(spec) = RunSpec::parse(state) {
        let _ = overrides(&spec, image.as_ref(), Known::default());
        let _ = Environment::new(spec.env.iter()).differences(state, false).count();
    }
    let digest = Digest::of(b"x");
    let _ = (DockerContainer::parse(state, ID), HostConfig::parse(state));
    let _ = docker::pulled_as(state, &digest, "debian:12");
    let _ = (storage::container(state, ID), storage::manifests(state, &digest), containerd::manifest(state));
    if let Ok(text) = std::str::from_utf8(state) {
        let _ = (of_annotation(text), Ports::parse(text));
    }
}

/// A bolt database. Its meta pages get true checksums: no fuzzer finds them.
pub fn database(bytes: &[u8]) {
    const META: usize = 16;
    const SUMMED: usize = 56;
    let mut bytes = bytes.to_vec();
    let page = bytes.get(META + 8..META + 12).map_or(0, |b| u32::from_ne_bytes(b.try_into().unwrap()));
    for start in [META, (page as usize).saturating_add(META)] {
        let end = start.saturating_add(SUMMED);
        let Some(meta) = bytes.get(start..end) else { continue };
        // FNV-1a, 64 bits.
        let sum = meta.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        if let Some(to) = bytes.get_mut(end..end + 8) {
            to.copy_from_slice(&sum.to_ne_bytes());
        }
    }
    let pages = &bytes[..];
    let _ = bolt::ask(&pages, |db| db.get(&[b"v1", b"k8s.io", b"containers"]));
    let _ = (containerd::record(&pages, "k8s.io", ID), libpod::ports(&pages, ID));
}

/// An environment (variables end with a NUL) against a declared one (a variable a line).
pub fn environment(bytes: &[u8]) {
    let [declared_text, actual] = parts(bytes);
    let config = serde_json::json!({
        "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [] },
        "config": { "Env": String::from_utf8_lossy(declared_text).lines().collect::<Vec<_>>() },
    });
    let Ok(image) = ImageConfig::parse(config.to_string().as_bytes()) else { return };
    let declared = Environment::new(image.env.iter());
    let subject = Subject { environment: actual, is_cut: is_cut(actual), cwd: Some(b"/app") };
    let names = judge(&declared, subject, &Variables::of(declared_text), &NoFiles);
    for name in names.added.iter().chain(&names.changed).chain(&names.risky) {
        assert!(!name.contains(&b'='), "a value is told: {name:?}");
    }
}

/// A container without any files.
struct NoFiles;

impl Files for NoFiles {
    fn place(&self, path: &[u8]) -> Place {
        match path.first() {
            Some(b'/') => Place::Absent,
            _ => Place::Unknown,
        }
    }

    fn exists(&self, _: &[u8]) -> Option<bool> {
        None
    }

    fn is_users_home(&self, _: &[u8]) -> bool {
        false
    }
}
