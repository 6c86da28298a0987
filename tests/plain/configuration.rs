//! Bad configuration is refused at start, and the message says which key, which value, and why.

use std::io::Write;
use std::path::Path;
use testkit::host;
use testkit::host::library::{self, Instance};

/// What the plugin says of a configuration.
fn refusal(config: &str) -> String {
    Instance::new(library::api(), config).err().unwrap_or_else(|| panic!("{config} was accepted"))
}

fn expect(config: &str, parts: &[&str]) {
    let message = refusal(config);
    for part in parts {
        assert!(message.contains(part), "{config} is refused with {message:?}, which lacks {part:?}");
    }
}

/// `init_config` with one manifest.
fn with_manifest(path: &Path) -> String {
    serde_json::json!({ "manifests": [{ "path": path, "containers": ["*"] }] }).to_string()
}

#[test]
fn unknown_keys() {
    // Key, and the keys there are.
    expect(r#"{"host_rot": "/"}"#, &["init_config", "host_rot", "unknown field", "host_root"]);
    expect(r#"{"cache": {"max_byte": 1}}"#, &["cache", "max_byte", "max_bytes"]);
    expect(
        r#"{"manifests": [{"path": "/x", "container": ["*"]}]}"#,
        &["manifests[0]", "container", "containers"],
    );
}

#[test]
fn wrong_types() {
    expect(r#"{"host_root": 7}"#, &["init_config.host_root", "`7`", "expected a string"]);
    expect(
        r#"{"cache": {"max_layers": "many"}}"#,
        &["init_config.cache.max_layers", "\"many\"", "expected u64"],
    );
    expect(r#"{"cache": {"max_layers": -1}}"#, &["init_config.cache.max_layers", "`-1`", "expected u64"]);
    expect(r#"{"cache": {"max_bytes": true}}"#, &["init_config.cache.max_bytes", "256MiB"]);
    expect(r#"{"manifests": {}}"#, &["init_config.manifests", "map", "expected a sequence"]);
    expect(r#"{"manifests": [{"path": "/x", "containers": "*"}]}"#, &["manifests[0].containers", "\"*\""]);
    expect("7", &["init_config", "`7`"]);
    expect("{", &["init_config", "EOF"]);
}

/// What an operator should know is in Falco's log: at the start what is seen of the host, and what is not.
#[test]
fn the_start_is_logged() {
    let host = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(host.path().join("var/lib/docker")).unwrap();
    let root = host.path().to_str().unwrap();
    let config = serde_json::json!({ "host_root": root, "log_level": "info" });
    let instance = library::Instance::new(library::api(), &config.to_string()).unwrap();
    instance.set_async(true);
    instance.set_async(false);
    let logged = library::LOGGED.lock().unwrap();
    assert!(logged.iter().all(|(_, component, _)| component == "drift"), "{logged:?}");
    let lines: Vec<&str> = logged.iter().map(|(_, _, line)| line.as_str()).collect();
    assert!(lines.iter().any(|line| line.starts_with("version") && line.contains(root)), "{lines:?}");
    let is_warned = |line: &&str| line.starts_with("error: no process is seen below") && line.contains(root);
    assert!(lines.iter().any(is_warned), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("Docker (/var/lib/docker)")), "{lines:?}");
}

#[test]
fn values_out_of_range() {
    expect(r#"{"host_root": "host"}"#, &["init_config.host_root", "\"host\"", "absolute"]);
    expect(r#"{"cache": {"max_bytes": "1 parsec"}}"#, &["init_config.cache.max_bytes", "1 parsec", "MiB"]);
    expect(
        r#"{"compare": {"inline_max": "1GiB"}}"#,
        &["init_config.compare.inline_max", "1073741824", "16MiB"],
    );
    expect(r#"{"indexer": {"cpu_percent": 0}}"#, &["init_config.indexer.cpu_percent", "\"0\"", "1 to 100"]);
    expect(r#"{"log_level": "loud"}"#, &["init_config.log_level", "\"loud\"", "warn"]);
    expect(r#"{"storage_roots": ["var"]}"#, &["init_config.storage_roots", "\"var\"", "absolute"]);
    expect(r#"{"manifests": [{"path": "/x"}]}"#, &["init_config.manifests[0]", "/x", "containers", "images"]);
    let glob = r#"{"manifests": [{"path": "/x", "containers": ["*"], "images": ["ok", "app[0-"]}]}"#;
    expect(glob, &["init_config.manifests[0].images", "\"app[0-\"", "glob", "unclosed"]);
}

#[test]
fn manifests_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let gzip = |text: &str| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        out.write_all(text.as_bytes()).unwrap();
        out.finish().unwrap()
    };
    let good = "#mtree\n./usr type=dir mode=0755\n./usr/x type=file mode=0755 size=1\n";
    let outside = "#mtree\n./usr type=dir mode=0755\n./usr/../../etc/passwd type=file mode=0644 size=1\n";
    let whole = gzip(&good.repeat(100));
    let mut flipped = whole.clone();
    let last = flipped.len() - 6;
    flipped[last] ^= 0xff; // Of the checksum.

    for path in [write("good", good.as_bytes()), write("good.gz", &gzip(good))] {
        assert_eq!(Instance::new(library::api(), &with_manifest(&path)).err(), None);
    }
    let missing = dir.path().join("missing.mtree");
    for (path, reason) in [
        (missing, "No such file"),
        (write("flipped.gz", &flipped), "checksum"),
        (write("cut.gz", &whole[..whole.len() / 2]), "incomplete"),
        (write("not.gz", &[0x1f, 0x8b, 9, 0, 0, 0, 0, 0, 0, 0, 1, 2]), "gzip"),
        (write("up", outside.as_bytes()), "./usr/../../etc/passwd"),
        (write("up.gz", &gzip(outside)), "line 3"),
        (write("above", b"#mtree\n. type=dir mode=0755\n..\n..\n"), "above the root"),
        (write("empty", b""), "lists no file"),
        (write("binary", &[0, 1, 2, 3, 0xff]), "NUL"),
        (write("zstd", &[0x28, 0xb5, 0x2f, 0xfd, 0, 0]), "zstd"),
    ] {
        let config = with_manifest(&path);
        expect(&config, &["init_config.manifests[0].path", path.to_str().unwrap(), reason]);
    }
    let message = refusal(&with_manifest(&dir.path().join("missing.mtree")));
    assert_eq!(message.matches("No such file").count(), 1, "said once: {message}");
    // A FIFO that nobody writes to would hold Falco's start up for ever.
    let fifo = dir.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    expect(&with_manifest(&fifo), &["init_config.manifests[0].path", "not a regular file"]);
}

#[test]
fn the_second_of_two_manifests_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let good = host::manifest(dir.path());
    let config = serde_json::json!({ "manifests": [
        { "path": good, "containers": ["*"] },
        { "path": "/nonexistent/app.mtree.gz", "images": ["*"] },
    ]});
    expect(&config.to_string(), &["init_config.manifests[1].path", "/nonexistent/app.mtree.gz"]);
}

#[test]
fn the_engine_gets_the_same_schema_as_the_plugin_reads() {
    let mut kind = 0;
    // SAFETY: the function takes a place for the kind, and gives a string that lives as long as the library.
    let schema = unsafe {
        let schema = library::api().get_init_schema.unwrap()(&mut kind);
        std::ffi::CStr::from_ptr(schema).to_str().unwrap()
    };
    assert_eq!(kind, 1, "SS_PLUGIN_SCHEMA_JSON");
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
    let mut keys: Vec<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "allowed_ports",
            "approved_images",
            "cache",
            "compare",
            "confirm_mmap",
            "container_parts",
            "files",
            "host_root",
            "ignore",
            "indexer",
            "log_level",
            "manifests",
            "network",
            "pod_annotations",
            "repeat",
            "storage_roots",
            "watch_code",
            "watch_files",
            "watch_libraries"
        ]
    );
    assert_eq!(schema["additionalProperties"], false);
}
