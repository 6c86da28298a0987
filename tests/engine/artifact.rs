//! The library as a file: what it exports, and what it needs where it is loaded.
//!
//! What `make dist` published is looked at where there is some: in the folder that DRIFT_DIST names, or in
//! `dist` of the target directory.

use goblin::elf::Elf;
use serde_json::{json, Value};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use testkit::host;

/// What glibc consists of; since 2.34 most of these are empty.
const GLIBC: &[&str] = &[
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libutil.so.1",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
];

/// Falco is built for this glibc, and so are the images it ships in.
const OLDEST_GLIBC: (u32, u32) = (2, 17);

/// Functions of plugin_api.h that an engine looks up for a plugin with a source, extraction, parsing and
/// async events.
const EXPORTS: &[&str] = &[
    "plugin_close",
    "plugin_destroy",
    "plugin_dump_state",
    "plugin_event_to_string",
    "plugin_extract_fields",
    "plugin_get_async_event_sources",
    "plugin_get_async_events",
    "plugin_get_contact",
    "plugin_get_description",
    "plugin_get_event_source",
    "plugin_get_extract_event_sources",
    "plugin_get_extract_event_types",
    "plugin_get_fields",
    "plugin_get_id",
    "plugin_get_init_schema",
    "plugin_get_last_error",
    "plugin_get_metrics",
    "plugin_get_name",
    "plugin_get_parse_event_sources",
    "plugin_get_parse_event_types",
    "plugin_get_required_api_version",
    // Since libs 0.22; the SDK does not have it.
    "plugin_get_required_event_schema_version",
    "plugin_get_version",
    "plugin_init",
    "plugin_next_batch",
    "plugin_open",
    "plugin_parse_event",
    "plugin_set_async_event_handler",
    "plugin_set_config",
];

/// Asserts what holds for each build of the library.
fn check(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    let elf = Elf::parse(&bytes).unwrap();
    assert!(elf.is_lib, "{}", path.display());

    let exported: BTreeSet<&str> = elf
        .dynsyms
        .iter()
        .filter(|s| s.st_shndx != 0 && !s.is_import())
        .filter_map(|s| elf.dynstrtab.get_at(s.st_name))
        .collect();
    assert_eq!(exported, EXPORTS.iter().copied().collect(), "exports of {}", path.display());

    for library in &elf.libraries {
        assert!(GLIBC.contains(library), "{} needs {library}, which is no part of glibc", path.display());
    }
    assert!(elf.rpaths.is_empty() && elf.runpaths.is_empty(), "searches of its own");
}

/// The versions of glibc whose symbols a library needs.
fn glibc_versions(elf: &Elf<'_>) -> Vec<(String, (u32, u32))> {
    let mut versions = Vec::new();
    for need in elf.verneed.iter().flat_map(|v| v.iter()) {
        let file = elf.dynstrtab.get_at(need.vn_file).unwrap();
        assert!(GLIBC.contains(&file), "versions of {file}");
        for version in need.iter() {
            let name = elf.dynstrtab.get_at(version.vna_name).unwrap();
            let numbers = name.strip_prefix("GLIBC_").unwrap_or_else(|| panic!("{name} of {file}"));
            let mut numbers = numbers.split('.').map(|n| n.parse::<u32>().unwrap());
            let number = (numbers.next().unwrap(), numbers.next().unwrap_or(0));
            versions.push((format!("{name} of {file}"), number));
        }
    }
    versions
}

/// The folder that `make dist` filled, where there is one.
fn dist() -> Option<PathBuf> {
    let dist =
        std::env::var_os("DRIFT_DIST").map_or_else(|| testkit::target_dir().join("dist"), PathBuf::from);
    dist.join("SHA256SUMS").is_file().then_some(dist)
}

/// As [`dist`]; says where there is none.
fn published(test: &str) -> Option<PathBuf> {
    let dist = dist();
    if dist.is_none() {
        testkit::skip::skip_optional(test, "`make dist` has not been run, and DRIFT_DIST is not set");
    }
    dist
}

/// The architectures that were built.
fn architectures(dist: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dist).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<String> = names.filter_map(|n| n.strip_prefix("linux-").map(str::to_owned)).collect();
    found.sort();
    found
}

/// The names in an archive.
fn listing(archive: &Path) -> Vec<String> {
    let output = std::process::Command::new("tar").arg("-tzf").arg(archive).output().unwrap();
    assert!(output.status.success(), "{}", archive.display());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn the_library_exports_the_interface_and_needs_only_glibc() {
    check(&host::library::path());
}

#[test]
fn versions_are_found_where_there_are_some() {
    let bytes = std::fs::read(host::library::path()).unwrap();
    let versions = glibc_versions(&Elf::parse(&bytes).unwrap());
    // Rust's standard library itself needs glibc 2.17, or 2.12 by its oldest symbols.
    assert!(versions.iter().any(|(_, v)| *v >= (2, 12)), "{versions:?}");
}

#[test]
fn the_published_library_runs_with_falcos_glibc() {
    let Some(dist) = published("the_published_library_runs_with_falcos_glibc") else { return };
    let architectures = architectures(&dist);
    assert!(!architectures.is_empty(), "{}", dist.display());
    for arch in architectures {
        let path = dist.join(format!("linux-{arch}/libdrift.so"));
        check(&path);
        let bytes = std::fs::read(&path).unwrap();
        let elf = Elf::parse(&bytes).unwrap();
        let versions = glibc_versions(&elf);
        assert!(!versions.is_empty(), "{}", path.display());
        for (name, version) in versions {
            assert!(version <= OLDEST_GLIBC, "{} needs {name}", path.display());
        }
        assert!(elf.syms.is_empty(), "{} is not stripped", path.display());
        // `/root/.ssh` and the like are what it watches in containers.
        for word in ["/home/", "/.cargo/", "/.rustup/", env!("CARGO_MANIFEST_DIR")] {
            let found = bytes.windows(word.len()).any(|w| w == word.as_bytes());
            assert!(!found, "{} has a path of the machine that built it: {word}", path.display());
        }
    }
}

#[test]
fn the_published_archives_are_whole_and_flat() {
    let Some(dist) = published("the_published_archives_are_whole_and_flat") else { return };
    let version = env!("CARGO_PKG_VERSION");
    let sums = std::fs::read_to_string(dist.join("SHA256SUMS")).unwrap();
    let checked = std::process::Command::new("sha256sum")
        .args(["-c", "SHA256SUMS"])
        .current_dir(&dist)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));

    let mut wanted = vec![format!("drift-rules-{version}.tar.gz")];
    assert_eq!(listing(&dist.join(&wanted[0])), ["drift_rules.yaml", "drift_source_rules.yaml"]);
    // One file in each artifact: the Falco operator refuses more.
    assert_eq!(listing(&dist.join("oci/rules.tar.gz")), ["drift_rules.yaml"]);
    assert_eq!(listing(&dist.join("oci/source-rules.tar.gz")), ["drift_source_rules.yaml"]);
    for arch in architectures(&dist) {
        assert_eq!(listing(&dist.join(format!("oci/plugin-linux-{arch}.tar.gz"))), ["libdrift.so"]);
        let name = format!("drift-{version}-linux-{arch}");
        let mut files = listing(&dist.join(format!("{name}.tar.gz")));
        files.sort();
        let (pages, files): (Vec<String>, Vec<String>) =
            files.into_iter().partition(|f| f.starts_with("share/"));
        for page in ["man/man1/drift.1", "man/man1/drift-diff.1", "bash-completion/completions/drift"] {
            assert!(pages.contains(&format!("share/{page}")), "{page}: {pages:?}");
        }
        let expected = [
            "LICENSE",
            "README.md",
            "drift",
            "drift_rules.yaml",
            "drift_source_rules.yaml",
            "falco.drift_plugin.yaml",
            "install.sh",
            "libdrift.so",
        ];
        assert_eq!(files, expected);
        wanted.extend([format!("{name}.tar.gz"), format!("{name}.cdx.json")]);
        bill_of_materials(
            &json(&dist.join(format!("{name}.cdx.json"))),
            &format!("{arch}-unknown-linux-gnu"),
        );
    }
    let mut named: Vec<&str> = sums.lines().map(|l| l.split_whitespace().nth(1).unwrap()).collect();
    named.sort_unstable();
    wanted.sort();
    assert_eq!(named, wanted);
}

/// Asserts what makes a bill of materials one that scanners read, and that it is this library's.
fn bill_of_materials(bom: &Value, target: &str) {
    assert_eq!((&bom["bomFormat"], &bom["specVersion"]), (&json!("CycloneDX"), &json!("1.5")));
    assert_eq!(bom["metadata"]["component"]["purl"], concat!("pkg:cargo/drift@", env!("CARGO_PKG_VERSION")));
    assert_eq!(bom["metadata"]["properties"][0]["value"], target);
    let components = bom["components"].as_array().unwrap();
    let mut refs = BTreeSet::new();
    for component in components {
        let purl = component["purl"].as_str().unwrap();
        assert!(refs.insert(purl), "{purl} twice");
        assert_eq!(component["bom-ref"], purl);
        assert!(component["licenses"][0]["expression"].is_string(), "{purl} has no licence");
        // The product's own crates come from no registry.
        let digest = component["hashes"][0]["content"].as_str().map(str::len);
        assert!(digest == Some(64) || purl.starts_with("pkg:cargo/drift-"), "{purl} has no digest");
    }
    // Direct dependencies that end up in the library; one that only tests have, and one that only the
    // compiler runs.
    let has = |name: &str| refs.iter().any(|r| r.starts_with(&format!("pkg:cargo/{name}@")));
    for name in ["falco_plugin", "rustix", "sha2", "serde_json"] {
        assert!(has(name), "{name} is missing");
    }
    for name in ["proptest", "testkit", "serde_derive", "syn"] {
        assert!(!has(name), "{name} is not linked");
    }
    // The command stands on the library, which is what the bill is of.
    refs.extend(bom["metadata"]["component"]["purl"].as_str());
    for dependency in bom["dependencies"].as_array().unwrap() {
        for name in dependency["dependsOn"].as_array().unwrap() {
            assert!(refs.contains(name.as_str().unwrap()), "{name} is no component");
        }
    }
}

/// Runs a script of `scripts/` that prints or writes what is published.
fn script(name: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new("python3")
        .arg(testkit::workspace_dir().join("scripts").join(name))
        .args(arguments)
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .output()
        .unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_bill_of_materials_lists_what_is_linked() {
    let text = script("sbom.py", &[]);
    bill_of_materials(&serde_json::from_str(&text).unwrap(), "x86_64-unknown-linux-gnu");
    assert_eq!(text, script("sbom.py", &[]), "the same sources give the same bytes");
}

#[test]
fn the_artifacts_require_what_the_library_and_the_rules_do() {
    let folder = tempfile::tempdir().unwrap();
    script("oci.py", &["1.2.3", folder.path().to_str().unwrap()]);

    let library = host::library::open();
    let version = host::library::functions(&library).get_required_api_version.unwrap();
    // SAFETY: the function takes nothing and gives a constant text.
    let api = unsafe { std::ffi::CStr::from_ptr(version()) }.to_str().unwrap();
    let rules = std::fs::read_to_string(testkit::workspace_dir().join("rules/drift_rules.yaml")).unwrap();
    let rules = testkit::yaml::parse(&rules).unwrap();
    let testkit::yaml::Node::List(items) = &rules else { panic!("{rules:?}") };
    let of = |key: &str| items.iter().find_map(|i| i.get(key)).unwrap();
    let engine = of("required_engine_version").text().unwrap();
    let testkit::yaml::Node::List(plugins) = of("required_plugin_versions") else { panic!() };
    let plugin = plugins[0].get("version").unwrap().text().unwrap();

    assert_eq!(
        json(&folder.path().join("plugin.json")),
        json!({"name": "drift", "version": "1.2.3",
               "requirements": [{"name": "plugin_api_version", "version": api}]})
    );
    for name in ["rules", "source-rules"] {
        assert_eq!(
            json(&folder.path().join(format!("{name}.json"))),
            json!({"name": format!("drift-{name}"), "version": "1.2.3",
                   "dependencies": [{"name": "drift", "version": plugin}],
                   "requirements": [{"name": "engine_version_semver", "version": engine}]})
        );
    }
}
