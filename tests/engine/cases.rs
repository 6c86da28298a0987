//! The cases in `rules/tests/`, ready to be replayed: the capture, the image that its containers run, the
//! shipped rules.

use crate::recorded::replay_config;
use drift_formats::digest::Digest;
use std::io::Write;
use std::path::{Path, PathBuf};
use testkit::cases::{self, Capture, Case};
use testkit::engine::Replay;
use testkit::rules::Rule;
use testkit::workspace_dir;

/// What a replay of cases needs.
pub struct Setting {
    /// The file of each case, without its ending, and the cases, in order.
    pub cases: Vec<(String, Case)>,
    /// The capture that they are.
    pub capture: Capture,
    library: PathBuf,
    config: String,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

/// The folder of the cases.
pub fn folder() -> PathBuf {
    workspace_dir().join("rules/tests")
}

/// The shipped rules files, in the order in which they are loaded.
pub fn packs() -> Vec<String> {
    let read = |name: &str| std::fs::read_to_string(workspace_dir().join("rules").join(name)).unwrap();
    vec![read("drift_rules.yaml"), read("drift_source_rules.yaml")]
}

/// The shipped rules.
pub fn shipped_rules() -> Vec<Rule> {
    let packs = packs();
    testkit::rules::parse_all(&packs.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
}

/// Every case of the folder.
pub fn all_cases() -> Vec<(String, Case)> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    let mut all = Vec::new();
    for path in files {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        all.extend(cases::load(&path).unwrap().into_iter().map(|case| (name.clone(), case)));
    }
    all
}

impl Setting {
    /// These cases, written down.
    pub fn new(cases: Vec<(String, Case)>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let plain: Vec<Case> = cases.iter().map(|(_, case)| case.clone()).collect();
        let capture = Capture::new(&plain).unwrap();
        let (file, host, image) =
            (dir.path().join("cases.scap"), dir.path().join("host"), dir.path().join("image"));
        capture.write(&file).unwrap();
        capture.write_host(&host).unwrap();
        write_image(&image);
        // What an image's peers are is reviewed for some, and learned of others.
        let network = format!(
            "network:\n  baselines: [{}]\n  learning: 24h\n  learned: {}\n",
            folder().join("image/network.yaml").display(),
            dir.path().join("learned.yaml").display()
        );
        let config = replay_config(&host, &image) + &network;
        let library = testkit::plugin_library().unwrap();
        if let Some(keep) = std::env::var_os("KEEP_CASES") {
            std::fs::copy(&file, keep).unwrap();
        }
        Self { cases, capture, library, config, file, _dir: dir }
    }

    /// The replay of the capture.
    pub fn replay(&self) -> Replay<'_> {
        Replay { plugin: Some(&self.library), init_config: &self.config, capture: &self.file }
    }
}

/// Writes `rules/tests/image` as an OCI layout of one layer.
fn write_image(dir: &Path) {
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |content: &[u8]| {
        let digest = Digest::of(content);
        std::fs::write(blobs.join(digest.hex()), content).unwrap();
        format!(r#""digest":"{digest}","size":{}"#, content.len())
    };
    let source = folder().join("image");
    let mut tar = tar::Builder::new(Vec::new());
    for name in std::fs::read_to_string(source.join("files.txt")).unwrap().lines() {
        let (kind, content) = match name.ends_with('/') {
            true => (tar::EntryType::Directory, &b""[..]),
            false => (tar::EntryType::Regular, &b"file"[..]),
        };
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        tar.append_data(&mut header, name, content).unwrap();
    }
    let mut tar = tar.into_inner().unwrap();
    tar.flush().unwrap();
    let layer = put(&tar);
    let config = std::fs::read_to_string(source.join("config.json")).unwrap();
    let config = config.replace(r#""diff_ids":[]"#, &format!(r#""diff_ids":["{}"]"#, Digest::of(&tar)));
    let config = put(config.as_bytes());
    let kind = "application/vnd.oci.image";
    let manifest = put(format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"{kind}.config.v1+json",{config}}},
            "layers":[{{"mediaType":"{kind}.layer.v1.tar",{layer}}}]}}"#
    )
    .as_bytes());
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{kind}.manifest.v1+json",{manifest}}}]}}"#
    );
    std::fs::write(dir.join("index.json"), index).unwrap();
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}
